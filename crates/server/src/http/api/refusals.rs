//! What calls can answer besides success, for the API document: sets of problem responses by kind of call.
//!
//! The sets list every status that the kind of call can answer and no other; `tests/it` and the third-party check hold
//! them against the running server.

use std::collections::BTreeMap;

use utoipa::IntoResponses;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};

use crate::http::problem::PROBLEM_JSON;

const MALFORMED: (u16, &str) = (400, "The body is not JSON, or the header Idempotency-Key is missing");
const UNREADABLE: (u16, &str) = (400, "The body is not JSON");
const UNREADABLE_PASSAGE: (u16, &str) =
    (400, "The request that is asked about cannot be read, or has no name");
const UNAUTHENTICATED: (u16, &str) = (401, "No valid key");
const INSUFFICIENT: (u16, &str) =
    (402, "The balance lacks credits: required, available, shortfall, unit and packages say what is missing");
const FORBIDDEN: (u16, &str) = (403, "The key lacks the scope, or spending of the tenant is stopped");
const NOT_FOUND: (u16, &str) = (404, "Something that the call names does not exist");
const TIMEOUT: (u16, &str) = (408, "The body did not arrive in time");
const CONFLICT: (u16, &str) = (409, "The state of what the call names does not allow it");
const TOO_LARGE: (u16, &str) = (413, "The body is too long");
const NOT_JSON: (u16, &str) = (415, "The body is not declared as JSON");
const INVALID: (u16, &str) = (422, "Fields are not acceptable: errors names each by a pointer");
const TOO_OFTEN: (u16, &str) = (429, "The key calls too often; Retry-After says when to come back");
const FAULT: (u16, &str) = (500, "The service failed");
const UNAVAILABLE: (u16, &str) = (503, "The service cannot take it now; Retry-After says when to come back");

/// Calls that read.
pub struct OfReads;
/// Calls whose body asks or may be left out, and that no state refuses.
pub struct OfQuestions;
/// Calls that change the catalogue.
pub struct OfChanges;
/// Calls that move credits.
pub struct OfMovements;
/// Calls at the gate, which may refuse what it is asked about for any reason.
pub struct OfGate;
/// The same in the statuses that nginx understands.
pub struct OfNginx;
/// The batch, whose debits carry their own refusals.
pub struct OfBatches;

/// Headers of answers that ask to come back.
const LATER: [(&str, &str); 1] = [("Retry-After", "Seconds until it is worth trying again")];
/// Headers of answers to who calls too often.
const RATES: [(&str, &str); 4] = [
    LATER[0],
    ("RateLimit-Limit", "How many calls of this key may come at once"),
    ("RateLimit-Remaining", "How many more may come now"),
    ("RateLimit-Reset", "Seconds until the whole limit is there again"),
];

fn responses(list: &[(u16, &str)]) -> BTreeMap<String, RefOr<Response>> {
    let problem = |(status, description): &(u16, &str)| {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        let mut response = ResponseBuilder::new().description(*description).content(PROBLEM_JSON, content);
        let headers: &[(&str, &str)] = match *status {
            status if status == UNAVAILABLE.0 => &LATER,
            status if status == TOO_OFTEN.0 => &RATES,
            _ => &[],
        };
        for (name, description) in headers {
            let number = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).build();
            let header = HeaderBuilder::new().schema(Some(number)).description(Some(*description));
            response = response.header(*name, header.build());
        }
        (status.to_string(), RefOr::T(response.build()))
    };
    list.iter().map(problem).collect()
}

macro_rules! answers {
    ($name:ty: $($status:ident),*) => {
        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                responses(&[$($status),*])
            }
        }
    };
}

answers!(OfReads: UNAUTHENTICATED, FORBIDDEN, NOT_FOUND, INVALID, TOO_OFTEN, FAULT, UNAVAILABLE);
answers!(OfQuestions: UNREADABLE, UNAUTHENTICATED, FORBIDDEN, NOT_FOUND, TIMEOUT, TOO_LARGE, NOT_JSON, INVALID, TOO_OFTEN, FAULT, UNAVAILABLE);
answers!(OfChanges: UNREADABLE, UNAUTHENTICATED, FORBIDDEN, NOT_FOUND, TIMEOUT, CONFLICT, TOO_LARGE, NOT_JSON, INVALID, TOO_OFTEN, FAULT, UNAVAILABLE);
answers!(OfMovements: MALFORMED, UNAUTHENTICATED, INSUFFICIENT, FORBIDDEN, NOT_FOUND, TIMEOUT, CONFLICT, TOO_LARGE, NOT_JSON, INVALID, TOO_OFTEN, FAULT, UNAVAILABLE);
answers!(OfGate: UNREADABLE_PASSAGE, UNAUTHENTICATED, INSUFFICIENT, FORBIDDEN, NOT_FOUND, CONFLICT, INVALID, TOO_OFTEN, FAULT, UNAVAILABLE);
answers!(OfNginx: UNAUTHENTICATED, FORBIDDEN, TOO_OFTEN, FAULT, UNAVAILABLE);
answers!(OfBatches: UNREADABLE, UNAUTHENTICATED, FORBIDDEN, TIMEOUT, TOO_LARGE, NOT_JSON, INVALID, TOO_OFTEN, FAULT, UNAVAILABLE);
