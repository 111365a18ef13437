//! Where a topic is and how to reach it: a URL and the properties of librdkafka, which are passed
//! through. Values of properties may be secret, so nothing here ever prints one.
//!
//! ```text
//! kafka://host:port,host:port/topic?group=NAME     sasl.username = "…", ssl.ca.location = "…", …
//! ```

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use std::collections::BTreeMap;
use std::fmt;

/// How the URL begins.
const SCHEME: &str = "kafka://";

/// How a URL looks, for messages.
const FORM: &str = "write kafka://HOST:PORT,HOST:PORT/TOPIC?group=NAME";

/// The parameters that a URL may have.
const PARAMETERS: &str = "group=NAME";

/// Longest name of a topic, in bytes; the broker's own bound.
const MAX_TOPIC_BYTES: usize = 249;

/// Longest name of a group, in bytes; what the broker's internal topic takes with room to spare.
const MAX_GROUP_BYTES: usize = 255;

/// Properties that settings may not give, and why.
const OURS: &[(&str, &str)] = &[
    ("bootstrap.servers", "the brokers are in the URL"),
    ("metadata.broker.list", "the brokers are in the URL"),
    ("group.id", "the group is in the URL"),
    ("group.protocol", "partitions are taken and given up all at once, by the classic protocol"),
    ("partition.assignment.strategy", "partitions are taken and given up all at once, by range"),
    ("enable.auto.commit", "what was applied stands in the store"),
    ("enable.auto.offset.store", "what was applied stands in the store"),
    ("auto.offset.reset", "reading begins where the store says, and nowhere else"),
    ("enable.partition.eof", "ends are asked for"),
    ("enable.idempotence", "what is pushed is written once and in order"),
    ("acks", "what is pushed is acknowledged by all replicas in sync"),
    ("request.required.acks", "what is pushed is acknowledged by all replicas in sync"),
    ("transactional.id", "what is pushed is not part of a transaction"),
];

/// A topic, the group that reads it, and how to reach its brokers.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaSettings {
    pub(super) brokers: String,
    pub(super) topic: String,
    pub(super) group: String,
    properties: BTreeMap<String, String>,
}

impl KafkaSettings {
    /// Reads a URL; `properties` are librdkafka's, such as `sasl.password` or `ssl.ca.location`.
    ///
    /// # Errors
    /// What is wrong and the remedy, in words that hold no secret.
    pub fn parse(url: &str, properties: BTreeMap<String, String>) -> Result<KafkaSettings, String> {
        let rest = url.strip_prefix(SCHEME).ok_or_else(|| format!("no Kafka URL; {FORM}"))?;
        if rest.contains('@') {
            return Err(format!(
                "a Kafka URL takes no user and no password: give the properties sasl.username and \
                 sasl.password; {FORM}"
            ));
        }
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (brokers, topic) = place.split_once('/').unwrap_or((place, ""));
        brokers.split(',').try_for_each(check_broker)?;
        check_topic(topic)?;
        let group = group(query)?;
        if let Some((name, why)) = OURS.iter().find(|(name, _)| properties.contains_key(*name)) {
            return Err(format!("property {name} is not to be set: {why}; take it out"));
        }
        let (brokers, topic) = (brokers.to_owned(), topic.to_owned());
        Ok(KafkaSettings { brokers, topic, group, properties })
    }

    /// For readers beside those of the group, who share the topic out among themselves.
    #[must_use]
    pub fn in_lane(mut self, lane: Option<&str>) -> KafkaSettings {
        if let Some(lane) = lane {
            self.group = format!("{}.{lane}", self.group);
        }
        self
    }

    /// The topic's name.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The properties of a client that reads with this group.
    pub(super) fn reader(&self, defaults: &[(&str, &str)], fixed: &[(&str, &str)]) -> ClientConfig {
        let mut config = self.client(defaults, fixed);
        config.set("group.id", &self.group);
        config
    }

    /// The properties of a client: ours, which the settings' go before, and those that are not
    /// theirs to give.
    pub(super) fn client(&self, defaults: &[(&str, &str)], fixed: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        // It would tell errors only; what is logged of the rest, `debug` and our own filter say.
        config.set_log_level(RDKafkaLogLevel::Debug);
        let given = self.properties.iter().map(|(name, value)| (&**name, &**value));
        let brokers = ("bootstrap.servers", &*self.brokers);
        for (name, value) in
            defaults.iter().copied().chain(given).chain(fixed.iter().copied()).chain([brokers])
        {
            config.set(name, value);
        }
        config
    }
}

/// The URL.
impl fmt::Display for KafkaSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let KafkaSettings { brokers, topic, group, .. } = self;
        write!(f, "{SCHEME}{brokers}/{topic}?group={group}")
    }
}

/// The URL and the names of the properties.
impl fmt::Debug for KafkaSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.properties.keys().collect();
        let url = self.to_string();
        f.debug_struct("KafkaSettings").field("url", &url).field("properties", &names).finish()
    }
}

fn check_broker(broker: &str) -> Result<(), String> {
    let parts = broker.rsplit_once(':');
    let whole = parts.is_some_and(|(host, port)| {
        let letters = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
        !host.is_empty() && host.chars().all(letters) && port.parse::<u16>().is_ok_and(|p| p > 0)
    });
    if whole { Ok(()) } else { Err(format!("{broker:?} is no HOST:PORT of a broker; {FORM}")) }
}

fn check_topic(topic: &str) -> Result<(), String> {
    if topic.is_empty() {
        return Err(format!("no topic; {FORM}"));
    }
    let letters = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let fits = topic.len() <= MAX_TOPIC_BYTES && topic.chars().all(letters);
    if fits && topic != "." && topic != ".." {
        return Ok(());
    }
    Err(format!(
        "{topic:?} is no name of a topic: these have up to {MAX_TOPIC_BYTES} letters, digits, \
         dots, dashes and underscores"
    ))
}

fn group(query: &str) -> Result<String, String> {
    let mut group = None;
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        if name != "group" {
            return Err(format!(
                "{name:?} is no parameter of a Kafka URL, which takes {PARAMETERS}; librdkafka's \
                 properties are settings of their own"
            ));
        }
        if group.replace(value).is_some() {
            return Err("group is given twice; name one".into());
        }
    }
    // A default would let two installations on one broker take partitions from each other.
    let group = group.ok_or_else(|| format!("no group; name one of your own: {FORM}"))?;
    let printable = |c: char| c.is_ascii_graphic() && !"%#?".contains(c);
    if group.is_empty() || group.len() > MAX_GROUP_BYTES || !group.chars().all(printable) {
        return Err(format!(
            "{group:?} is no name of a group: give 1 to {MAX_GROUP_BYTES} printable characters \
             without spaces, %, # and ?"
        ));
    }
    Ok(group.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<KafkaSettings, String> {
        KafkaSettings::parse(url, BTreeMap::new())
    }

    fn with(name: &str, value: &str) -> Result<KafkaSettings, String> {
        let properties = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        KafkaSettings::parse("kafka://a:1/t?group=g", properties)
    }

    #[test]
    fn a_url_has_brokers_a_topic_and_a_group() {
        let url = "kafka://b1.example:9092,[::1]:19092/card-events_v1.2?group=trueup-production";
        let settings = parse(url).unwrap();
        assert_eq!(settings.to_string(), url);
        assert_eq!(settings.brokers, "b1.example:9092,[::1]:19092");
        assert_eq!(settings.topic(), "card-events_v1.2");
        assert_eq!(settings.group, "trueup-production");
    }

    #[test]
    fn what_is_wrong_with_a_url_is_named_with_the_remedy() {
        let long = format!("kafka://a:1/{}?group=g", "t".repeat(250));
        for (url, says) in [
            ("redis://a:1/t?group=g", "no Kafka URL; write kafka://"),
            ("kafka://a/t?group=g", "\"a\" is no HOST:PORT"),
            ("kafka://a:1,/t?group=g", "\"\" is no HOST:PORT"),
            ("kafka://a:0/t?group=g", "\"a:0\" is no HOST:PORT"),
            ("kafka://a:70000/t?group=g", "\"a:70000\" is no HOST:PORT"),
            ("kafka://a:1?group=g", "no topic"),
            ("kafka://a:1/t/u?group=g", "\"t/u\" is no name of a topic"),
            ("kafka://a:1/^t.*?group=g", "\"^t.*\" is no name of a topic"),
            ("kafka://a:1/..?group=g", "\"..\" is no name of a topic"),
            (&long, "up to 249 letters"),
            ("kafka://a:1/t", "no group; name one of your own"),
            ("kafka://a:1/t?group=", "\"\" is no name of a group"),
            ("kafka://a:1/t?group=a%20b", "\"a%20b\" is no name of a group"),
            ("kafka://a:1/t?group=g&group=h", "group is given twice"),
            (
                "kafka://a:1/t?offset=3",
                "\"offset\" is no parameter of a Kafka URL, which takes group",
            ),
        ] {
            let error = parse(url).unwrap_err();
            assert!(error.contains(says), "{url}: {error}");
        }
    }

    #[test]
    fn a_password_is_in_no_message_and_no_debug_text() {
        let error = parse("kafka://me:hunter2@a:1/t?group=g").unwrap_err();
        assert!(!error.contains("hunter2") && error.contains("sasl.password"), "{error}");
        let settings = with("sasl.password", "hunter2").unwrap();
        let said = format!("{settings} {settings:?}");
        assert!(!said.contains("hunter2") && said.contains("sasl.password"), "{said}");
    }

    #[test]
    fn properties_that_are_ours_are_refused_and_others_go_before_our_defaults() {
        for (name, why) in OURS {
            let error = with(name, "x").unwrap_err();
            assert!(error.contains(name) && error.contains(why), "{error}");
        }
        let settings = with("session.timeout.ms", "6000").unwrap();
        let config = settings.client(&[("session.timeout.ms", "1"), ("client.id", "c")], &[]);
        assert_eq!(config.get("session.timeout.ms"), Some("6000"));
        assert_eq!(config.get("client.id"), Some("c"));
        assert_eq!(config.get("bootstrap.servers"), Some("a:1"));
    }
}
