//! Query parameters, as strict as bodies: unknown, repeated and undecodable ones are refused by name.
//!
//! Each endpoint's parameters are a struct that documents them (`IntoParams`) and takes them out of [`Params`] one by
//! one; what nobody has taken is unknown. Values stay text: the use cases judge them.

use purser_app::ask::PageAsk;
use utoipa::IntoParams;

use super::problem::Problem;

/// The longest page.
const LIMIT_MAX: u32 = 500;

/// Takes an endpoint's parameters.
pub trait FromQuery: Sized + Send {
    /// Takes what it knows; what is left is unknown.
    fn from_query(params: &mut Params) -> Result<Self, Problem>;
}

/// Names and values of a query, decoded.
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Splits and decodes a query.
    pub fn read(query: Option<&str>) -> Result<Params, Problem> {
        let mut params: Vec<(String, String)> = Vec::new();
        for pair in query.unwrap_or("").split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name).ok_or_else(|| undecodable("?"))?;
            let value = decode(value).ok_or_else(|| undecodable(&format!("?{name}")))?;
            if params.iter().any(|(known, _)| *known == name) {
                return Err(Problem::field(
                    format!("?{name}"),
                    "duplicate_field",
                    "the parameter is given twice",
                ));
            }
            params.push((name, value));
        }
        Ok(Params(params))
    }

    /// The value of a parameter, if it is given.
    pub fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.swap_remove(at).1)
    }

    /// The value of a parameter that has to be given.
    pub fn required(&mut self, name: &str) -> Result<String, Problem> {
        self.take(name)
            .ok_or_else(|| Problem::field(format!("?{name}"), "required", "the parameter is required"))
    }

    /// Refuses what nobody has taken.
    pub fn finish(&self) -> Result<(), Problem> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => {
                Err(Problem::field(format!("?{name}"), "unknown_field", "the call has no such parameter"))
            }
        }
    }
}

impl<A: FromQuery, B: FromQuery> FromQuery for (A, B) {
    fn from_query(params: &mut Params) -> Result<(A, B), Problem> {
        Ok((A::from_query(params)?, B::from_query(params)?))
    }
}

/// Which page of a list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// How many rows; 50 unless said.
    #[param(minimum = 1, maximum = 500, nullable = false)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    #[param(nullable = false)]
    cursor: Option<String>,
}

impl FromQuery for PageQuery {
    fn from_query(params: &mut Params) -> Result<PageQuery, Problem> {
        let sound = |text: String| text.parse::<u32>().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
        let refused = || Problem::field("?limit", "out_of_range", "a whole number from 1 to 500");
        let limit = params.take("limit").map(|text| sound(text).ok_or_else(refused)).transpose()?;
        Ok(PageQuery { limit, cursor: params.take("cursor") })
    }
}

impl From<PageQuery> for PageAsk {
    fn from(query: PageQuery) -> PageAsk {
        PageAsk { limit: query.limit, cursor: query.cursor }
    }
}

fn undecodable(pointer: &str) -> Problem {
    Problem::field(pointer, "malformed", "not percent-encoded UTF-8")
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let [high, low, after @ ..] = rest else { return None };
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                bytes.push(u8::try_from(digit(high)? * 16 + digit(low)?).ok()?);
                rest = after;
            }
            other => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_taken_once() {
        let mut params = Params::read(Some("user=a%2Bb+c&unit=&")).expect("sound");
        assert_eq!(params.take("user").as_deref(), Some("a+b c"));
        assert_eq!(params.take("unit").as_deref(), Some(""));
        assert_eq!(params.take("user"), None);
        assert!(params.finish().is_ok());
        assert!(params.required("time").is_err());
    }

    #[test]
    fn what_is_unknown_repeated_or_undecodable_is_refused() {
        assert!(Params::read(Some("a=1")).expect("sound").finish().is_err());
        for bad in ["a=1&a=2", "a=%zz", "a=%f", "%ff=1", "a=%ff"] {
            assert!(Params::read(Some(bad)).is_err(), "{bad}");
        }
        assert!(Params::read(None).expect("sound").finish().is_ok());
    }
}
