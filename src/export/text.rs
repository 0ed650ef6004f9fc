//! Reading untrusted text.

use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor};

use crate::error::{Problem, Result};

/// Reads JSON in which no object has a key twice.
pub(crate) fn json<T: DeserializeOwned>(text: &str) -> Result<T> {
    let mut twice = None;
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = Unique(&mut twice).deserialize(&mut reader);
    if let Some(name) = twice {
        return Err(Problem::Duplicate(name).into());
    }
    read.and_then(|()| serde_json::from_str(text))
        .map_err(|error| Problem::Description(error.to_string()).into())
}

/// Reads any JSON and refuses objects that have a key twice.
struct Unique<'a>(&'a mut Option<String>);

impl<'de> DeserializeSeed<'de> for Unique<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> std::result::Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        let mut seen = std::collections::HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if seen.contains(&name) {
                *self.0 = Some(name);
                return Err(serde::de::Error::custom("a name occurs twice"));
            }
            seen.insert(name);
            map.next_value_seed(Unique(self.0))?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<(), A::Error> {
        while list.next_element_seed(Unique(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> std::result::Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> std::result::Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> std::result::Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> std::result::Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> std::result::Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> std::result::Result<(), E> {
        Ok(())
    }
}

/// The text of a file without its byte-order mark, or an error that names the format.
pub(crate) fn text<'a>(bytes: &'a [u8], format: &'static str) -> Result<&'a str> {
    std::str::from_utf8(bytes)
        .map(|text| text.strip_prefix('\u{feff}').unwrap_or(text))
        .map_err(|error| Problem::Container { format, reason: format!("not text ({error})") }.into())
}

/// Parses a number of a text file.
pub(crate) fn number<T: std::str::FromStr>(word: &str, line: usize) -> Result<T> {
    let reason =
        || format!("`{}` is no {}", word.chars().take(40).collect::<String>(), std::any::type_name::<T>());
    word.parse().map_err(|_| Problem::Line { line, reason: reason() }.into())
}
