//! Prints the schema as an empty database of a system gets it; `tests/contract/schema.*.sql` are its committed outputs.
//!
//! `cargo run -p purser-store --example schema -- sqlite | postgres | mysql`

fn main() {
    let system = std::env::args().nth(1).unwrap_or_else(|| "sqlite".into());
    match purser_store::rendered_schema(&system) {
        Some(schema) => print!("{schema}"),
        None => eprintln!("{system} is none of sqlite, postgres, mysql"),
    }
}
