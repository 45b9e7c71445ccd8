//! Query strings.

use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use percent_encoding::percent_decode_str;

use super::{Code, Problem};

/// A route's query, of the parameters that the route knows and no others: a misspelt `?limt=5` is refused, not ignored.
#[derive(Debug)]
pub(super) struct QueryString<T>(pub(super) T);

/// A query that can be read from its parameters.
pub(super) trait FromParameters: Sized {
    /// Takes the parameters it knows.
    fn from_parameters(parameters: &mut Parameters) -> Result<Self, Problem>;
}

impl<T: FromParameters, S: Sync> FromRequestParts<S> for QueryString<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut parameters = Parameters::parse(parts.uri.query().unwrap_or_default())?;
        let query = T::from_parameters(&mut parameters)?;
        parameters.finish()?;
        Ok(Self(query))
    }
}

impl<A: FromParameters, B: FromParameters> FromParameters for (A, B) {
    fn from_parameters(parameters: &mut Parameters) -> Result<Self, Problem> {
        Ok((A::from_parameters(parameters)?, B::from_parameters(parameters)?))
    }
}

/// Names and values of a query, in the order they were sent, until a route takes them.
#[derive(Debug)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn parse(query: &str) -> Result<Self, Problem> {
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        });
        Ok(Self(pairs.collect::<Result<_, Problem>>()?))
    }

    /// Every value of a parameter that may be repeated.
    pub(super) fn all(&mut self, name: &str) -> Vec<String> {
        self.0.extract_if(.., |(found, _)| found == name).map(|(_, value)| value).collect()
    }

    /// The value of a parameter that may be given once.
    pub(super) fn one(&mut self, name: &str) -> Result<Option<String>, Problem> {
        let mut values = self.all(name);
        let value = values.pop();
        if values.is_empty() { Ok(value) } else { Err(invalid(name, "give it once")) }
    }

    /// A parameter that has a type of its own; `expected` tells what it would have to be.
    pub(super) fn parsed<T: FromStr>(&mut self, name: &str, expected: &str) -> Result<Option<T>, Problem> {
        self.one(name)?.map(|value| value.parse().map_err(|_| invalid(name, expected))).transpose()
    }

    /// A count from 1 to `max`.
    pub(super) fn count(&mut self, name: &str, max: usize) -> Result<Option<usize>, Problem> {
        let expected = format!("a number from 1 to {max}");
        match self.parsed(name, &expected)? {
            Some(count) if count < 1 || count > max => Err(invalid(name, &expected)),
            count => Ok(count),
        }
    }

    fn finish(self) -> Result<(), Problem> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(invalid(name, "this route does not know it")),
        }
    }
}

/// The problem of one parameter.
pub(super) fn invalid(name: &str, expected: &str) -> Problem {
    Problem::new(Code::InvalidQuery, format!("Parameter `{name}`: {expected}.")).with("parameter", name)
}

/// Decodes `application/x-www-form-urlencoded`. Strict where `form_urlencoded` is not: bytes that aren't UTF-8 would
/// otherwise turn into the name of another topic.
fn decode(text: &str) -> Result<String, Problem> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded.map(String::from).map_err(|_| Problem::new(Code::InvalidQuery, "Percent-encode the query as UTF-8."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(query: &str, name: &str) -> Vec<String> {
        Parameters::parse(query).expect(query).all(name)
    }

    #[test]
    fn values_are_decoded_once_and_in_order() {
        assert_eq!(values("t=a&t=b%20c&t=d+e&t=%252F&u=x", "t"), ["a", "b c", "d e", "%2F"]);
        assert_eq!(values("t&t=&=t", "t"), ["", ""]);
        assert_eq!(values("t=a=b&&t=%zz", "t"), ["a=b", "%zz"]);
    }

    #[test]
    fn what_a_route_does_not_take_is_refused_by_name() {
        let problem = |query: &str| {
            let mut parameters = Parameters::parse(query).expect(query);
            let count = parameters.count("limit", 10).map(|_| ());
            count.and_then(|()| parameters.finish()).expect_err(query)
        };
        for query in ["limit=1&limit=2", "limit=0", "limit=11", "limit=-1", "limit=x", "limit="] {
            assert_eq!(problem(query).code(), Code::InvalidQuery, "{query}");
        }
        assert_eq!(problem("limit=1&limt=2"), invalid("limt", "this route does not know it"));
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused() {
        assert_eq!(Parameters::parse("t=%ff").expect_err("not UTF-8").code(), Code::InvalidQuery);
    }
}
