//! What librdkafka's errors mean for a caller: whether to try again, and the remedy.

use super::KafkaSettings;
use crate::ingest::source::SourceError;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

/// What mends itself when brokers come back.
const WAIT: &str = "It mends itself when the brokers answer again; check them if it lasts";

/// What a person does about a property.
#[cfg(feature = "kafka-tls")]
const CORRECT: &str = "Correct the properties of this source";
/// The same, where librdkafka was built without OpenSSL.
#[cfg(not(feature = "kafka-tls"))]
const CORRECT: &str = "Correct the properties of this source; TLS and SCRAM need a build with the \
                       feature kafka-tls";

/// The error of a call, with what the call was to do.
pub(super) fn failed(settings: &KafkaSettings, what: &str, error: &KafkaError) -> SourceError {
    let (retry, remedy) = advice(error);
    let detail = format!("{what}: {}", detail(error));
    SourceError { source: settings.to_string(), detail, retry, remedy }
}

/// The error of one partition or of a topic.
pub(super) fn failed_with(settings: &KafkaSettings, what: &str, code: Code) -> SourceError {
    failed(settings, what, &KafkaError::Global(code))
}

/// The words of an error. A property's value may be a secret, and librdkafka repeats it.
fn detail(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, _, name, _) => {
            format!("librdkafka does not take property {name}, or not with that value")
        }
        KafkaError::ClientCreation(said) => said.clone(),
        other => match other.rdkafka_error_code() {
            Some(code) => code.to_string(),
            None => other.to_string(),
        },
    }
}

fn advice(error: &KafkaError) -> (bool, &'static str) {
    if let KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_) = error {
        return (false, CORRECT);
    }
    if let KafkaError::MessageConsumptionFatal(_) = error {
        return (false, "Start this process again");
    }
    match error.rdkafka_error_code() {
        Some(
            Code::UnknownTopic
            | Code::UnknownTopicOrPartition
            | Code::UnknownPartition
            | Code::InvalidTopic,
        ) => (false, "Make the topic, or name another one in the URL"),
        Some(
            Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::IllegalSASLState
            | Code::SSL,
        ) => (false, "Check security.protocol and the properties sasl.* and ssl.* of this source"),
        Some(
            Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed,
        ) => (false, "Allow this user to describe and read the topic and to read the group"),
        Some(Code::InconsistentGroupProtocol) => {
            (false, "Others read with this group in another manner: name a group of your own")
        }
        Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => {
            (false, "Backfill from history, or declare a new beginning")
        }
        Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize) => {
            (false, "Send smaller events, or raise message.max.bytes here and on the topic")
        }
        _ => (true, WAIT),
    }
}

/// Whether librdkafka mends it on its own while others are read, so that nobody need begin again.
pub(super) fn passes(error: &KafkaError) -> bool {
    let code = error.rdkafka_error_code();
    matches!(code, Some(Code::BrokerTransportFailure | Code::Resolve | Code::OperationTimedOut))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_property_that_is_refused_is_named_without_its_value() {
        let properties = BTreeMap::from([("socket.timeout.ms".to_owned(), "hunter2".to_owned())]);
        let settings = KafkaSettings::parse("kafka://a:1/t?group=g", properties).unwrap();
        let made = settings.client(&[], &[]).create::<rdkafka::producer::BaseProducer>();
        let error = failed(&settings, "no client", &made.err().unwrap());
        let said = error.to_string();
        assert!(said.contains("socket.timeout.ms") && !said.contains("hunter2"), "{said}");
        assert!(!error.retry);
    }

    #[test]
    fn what_only_a_person_can_mend_is_not_tried_again() {
        let settings = KafkaSettings::parse("kafka://a:1/t?group=g", BTreeMap::new()).unwrap();
        for (code, retry, remedy) in [
            (Code::UnknownTopicOrPartition, false, "Make the topic"),
            (Code::SaslAuthenticationFailed, false, "sasl.*"),
            (Code::GroupAuthorizationFailed, false, "Allow this user"),
            (Code::OffsetOutOfRange, false, "new beginning"),
            (Code::AutoOffsetReset, false, "new beginning"),
            (Code::AllBrokersDown, true, "mends itself"),
            (Code::OperationTimedOut, true, "mends itself"),
            (Code::NotLeaderForPartition, true, "mends itself"),
        ] {
            let error = failed_with(&settings, "x", code);
            assert_eq!(error.retry, retry, "{error}");
            assert!(error.remedy.contains(remedy), "{error}");
        }
    }
}
