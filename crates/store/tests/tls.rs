//! Encrypted connections to real servers: whoever asks for them gets them, and an impostor is refused.

use purser_store::{DatabaseUrl, OpenOptions, Store, StoreError, migrate_server};

/// A server's URL and the authority behind its certificate, as the harness hands them over.
fn server(system: &str) -> (String, String) {
    let named = |name: &str| {
        let variable = format!("PURSER_TEST_{system}_{name}");
        std::env::var(&variable).unwrap_or_else(|_| {
            panic!("{variable} is not set: run `cargo xtask test`, or `cargo xtask services` and export what it prints")
        })
    };
    (named("URL"), named("CA"))
}

/// Connects, which looks for the schema; the databases that the harness makes have none.
fn connect(url: &str) -> StoreError {
    let DatabaseUrl::Server(target) = DatabaseUrl::parse(url).expect("a URL") else {
        panic!("{url} is a file")
    };
    match Store::connect(&target, &OpenOptions::default(), 1) {
        Ok(_) => panic!("{url} has a schema"),
        Err(error) => error,
    }
}

/// It answered: what it lacks is the schema.
fn is_connected(error: &StoreError) -> bool {
    matches!(error, StoreError::Older { .. })
}

#[test]
fn a_server_that_proves_its_name_is_connected_to() {
    for system in ["POSTGRES", "MYSQL"] {
        let (url, authority) = server(system);
        for mode in [format!("sslmode=verify-full&sslrootcert={authority}"), "sslmode=require".to_string()] {
            let error = connect(&format!("{url}?{mode}"));
            assert!(is_connected(&error), "{system} with {mode}: {error}");
        }
    }
}

#[test]
fn a_server_whose_certificate_nobody_vouches_for_is_refused() {
    let servers = ["POSTGRES", "MYSQL"].map(server);
    let [(postgres, its_authority), (mysql, other_authority)] = &servers;
    for (url, authority) in [(postgres, other_authority), (mysql, its_authority)] {
        let error = connect(&format!("{url}?sslmode=verify-full&sslrootcert={authority}"));
        assert!(matches!(error, StoreError::Unavailable { .. }), "{url}: {error}");
    }
    // Public authorities do not vouch for it either.
    let error = connect(&format!("{postgres}?sslmode=verify-full"));
    assert!(!is_connected(&error), "{error}");
}

#[test]
fn an_authority_that_cannot_be_read_is_named() {
    let (url, _) = server("POSTGRES");
    let error = connect(&format!("{url}?sslmode=verify-full&sslrootcert=/nowhere/authority.pem"));
    assert!(error.to_string().contains("/nowhere/authority.pem"), "{error}");
    let DatabaseUrl::Server(target) =
        DatabaseUrl::parse(&format!("{url}?sslmode=verify-full&sslrootcert=/nowhere/a.pem")).expect("a URL")
    else {
        panic!("{url} is a file")
    };
    assert!(migrate_server(&target).is_err(), "a migration is not sent over a connection that was refused");
}
