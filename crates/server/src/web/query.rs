//! Query parameters, strictly: each at most once, none that is not known.

use tokenvault_vault::problem::{Code, Problem};

/// The values of the known parameters, in the order they were asked for.
pub fn parse<const N: usize>(query: Option<&str>, known: [&str; N]) -> Result<[Option<String>; N], Problem> {
    let mut values = [const { None }; N];
    for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        let Some(at) = known.iter().position(|one| *one == name) else {
            return Err(invalid(format!("The query parameters are {}.", known.join(", "))));
        };
        if values[at].replace(value.into_owned()).is_some() {
            return Err(invalid(format!("{name} is given twice.")));
        }
    }
    Ok(values)
}

/// A number of seconds.
pub fn seconds(name: &str, value: Option<&str>, max: u64) -> Result<Option<std::time::Duration>, Problem> {
    let Some(text) = value else { return Ok(None) };
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<u64>() {
        Ok(seconds) if digits && seconds <= max => Ok(Some(std::time::Duration::from_secs(seconds))),
        _ => Err(invalid(format!("{name} is a whole number of seconds from 0 to {max}."))),
    }
}

/// The problem of a request that is not what the API describes.
pub fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(Code::InvalidRequest, detail)
}
