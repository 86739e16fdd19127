//! An object, or why it cannot be understood: one that is not as its type wants it must not end the list or the watch that
//! it is in. Its JSON is read in one go; only what cannot be understood is read again, for its name. It is read from JSON
//! only, and from events whose type comes before their object, as API servers write them.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{Deserialize, Deserializer, de::DeserializeOwned, de::Error as _};
use serde_json::value::RawValue;

/// What became of an object.
#[derive(Clone, Debug)]
pub struct Understood<K>(pub Result<K, Refusal>);

/// One that is not understood.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Its name, and what else is common to all objects.
    pub metadata: ObjectMeta,
    /// What is wrong with it, in words.
    pub why: String,
}

#[derive(Deserialize)]
struct Named {
    metadata: ObjectMeta,
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Understood<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let error = match serde_json::from_str(text.get()) {
            Ok(object) => return Ok(Self(Ok(object))),
            Err(error) => error,
        };
        let named: Named = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
        Ok(Self(Err(Refusal {
            metadata: named.metadata,
            why: error.to_string(),
        })))
    }
}

impl<K: Resource> Resource for Understood<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(of: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(of)
    }

    fn group(of: &Self::DynamicType) -> Cow<'_, str> {
        K::group(of)
    }

    fn version(of: &Self::DynamicType) -> Cow<'_, str> {
        K::version(of)
    }

    fn plural(of: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(of)
    }

    fn meta(&self) -> &ObjectMeta {
        match &self.0 {
            Ok(object) => object.meta(),
            Err(refusal) => &refusal.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match &mut self.0 {
            Ok(object) => object.meta_mut(),
            Err(refusal) => &mut refusal.metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;
    use kube::{ResourceExt, api::WatchEvent, core::ObjectList};

    use super::*;

    const GOOD: &str = r#"{"metadata":{"name":"good"},"spec":{"ports":[{"port":80}]}}"#;
    const BAD: &str = r#"{"metadata":{"name":"bad"},"spec":{"ports":"eighty"}}"#;

    #[test]
    fn one_that_is_not_understood_does_not_end_a_list_and_has_its_name() {
        let text =
            format!(r#"{{"kind":"ServiceList","metadata":{{}},"items":[{GOOD},{BAD},{GOOD}]}}"#);
        let list: ObjectList<Understood<Service>> = serde_json::from_str(&text).unwrap();
        let seen: Vec<_> = list
            .items
            .iter()
            .map(|item| (item.name_any(), item.0.is_ok()))
            .collect();
        let good = ("good".to_owned(), true);
        assert_eq!(seen, [good.clone(), ("bad".to_owned(), false), good]);
        let why = &list.items[1].0.as_ref().unwrap_err().why;
        assert!(why.contains("eighty"), "{why}");
    }

    #[test]
    fn an_event_of_a_watch_is_read_as_the_api_server_writes_it() {
        for (object, is_understood) in [(GOOD, true), (BAD, false)] {
            let text = format!(r#"{{"type":"MODIFIED","object":{object}}}"#);
            match serde_json::from_str(&text).unwrap() {
                WatchEvent::Modified(Understood::<Service>(read)) => {
                    assert_eq!(read.is_ok(), is_understood);
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(serde_json::from_str::<Understood<Service>>("{}").is_ok());
        assert!(serde_json::from_str::<Understood<Service>>("7").is_err());
    }
}
