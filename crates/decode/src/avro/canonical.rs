//! The fingerprint of a schema, which single-object encoding writes before a datum: CRC-64-AVRO of
//! the schema's Parsing Canonical Form. That form leaves out all that changes no bytes of a datum:
//! documentation, defaults, aliases, and logical types too.

use super::schema::{full_name, name_of, primitive};
use serde_json::Value;

/// The fingerprint of nothing, and the polynomial.
const EMPTY: u64 = 0xC15D_213A_A4D7_A795;

/// The fingerprint of a schema that was parsed without an error.
pub(super) fn fingerprint(json: &Value) -> u64 {
    let mut text = String::new();
    write(json, "", &mut text);
    crc(text.as_bytes())
}

fn crc(bytes: &[u8]) -> u64 {
    bytes.iter().fold(EMPTY, |crc, byte| {
        let folded = (0..8).fold((crc ^ u64::from(*byte)) & 0xFF, |low, _| {
            (low >> 1) ^ (EMPTY & 0u64.wrapping_sub(low & 1))
        });
        (crc >> 8) ^ folded
    })
}

/// Writes the canonical form of a type in the namespace `space`.
fn write(json: &Value, space: &str, out: &mut String) {
    match json {
        Value::String(name) if primitive(name).is_some() => quoted(name, out),
        Value::String(name) => quoted(&full_name(name, space), out),
        Value::Array(branches) => list(branches, out, |branch, out| write(branch, space, out)),
        Value::Object(object) => match object.get("type") {
            Some(Value::String(ty)) if ty == "array" || ty == "map" => {
                let part = if ty == "array" { "items" } else { "values" };
                out.push_str(&format!("{{\"type\":\"{ty}\",\"{part}\":"));
                object.get(part).iter().for_each(|item| write(item, space, out));
                out.push('}');
            }
            Some(Value::String(ty)) if name_of(object, space).is_some() => {
                match ty.as_str() {
                    "record" | "error" | "enum" | "fixed" => named(json, ty, space, out),
                    _ => write(&json["type"], space, out),
                };
            }
            Some(ty) => write(ty, space, out),
            None => {}
        },
        _ => {}
    }
}

/// Writes a type with a name.
fn named(json: &Value, ty: &str, space: &str, out: &mut String) {
    let Some((full, space)) = json.as_object().and_then(|object| name_of(object, space)) else {
        return;
    };
    out.push_str(&format!("{{\"name\":\"{full}\",\"type\":\"{ty}\""));
    let array = |what: &str| json[what].as_array().map(Vec::as_slice).unwrap_or_default();
    match ty {
        "fixed" => out.push_str(&format!(",\"size\":{}", json["size"])),
        "enum" => {
            out.push_str(",\"symbols\":");
            list(array("symbols"), out, |symbol, out| {
                quoted(symbol.as_str().unwrap_or_default(), out);
            });
        }
        _ => {
            out.push_str(",\"fields\":");
            list(array("fields"), out, |field, out| {
                let name = field["name"].as_str().unwrap_or_default();
                out.push_str(&format!("{{\"name\":\"{name}\",\"type\":"));
                write(&field["type"], space, out);
                out.push('}');
            });
        }
    }
    out.push('}');
}

fn list(items: &[Value], out: &mut String, each: impl Fn(&Value, &mut String)) {
    out.push('[');
    for (nth, item) in items.iter().enumerate() {
        if nth > 0 {
            out.push(',');
        }
        each(item, out);
    }
    out.push(']');
}

/// Names hold nothing that is written otherwise between quotes.
fn quoted(text: &str, out: &mut String) {
    out.push('"');
    out.push_str(text);
    out.push('"');
}
