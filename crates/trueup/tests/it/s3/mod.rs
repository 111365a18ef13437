//! State from objects in a bucket of S3, on a server that checks signatures: the harm is an object
//! that is left out or read by half, or a key that is told to somebody.

use crate::backfill::{
    SIGABRT, assert_done, assert_refused, assert_taken_over, project, said, trueup, write_history,
};
use crate::from_database::{copies, state};
use crate::pay::Payment;
use crate::support::packages;
use serde_json::{Map, Value, json};
use std::io::{BufRead, BufReader, Lines, Write};
use std::ops::Range;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use tempfile::TempDir;
use trueup_store::testing::servers::TestCa;

/// It is ended when it is dropped.
struct S3 {
    process: Child,
    input: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
    url: String,
    id: String,
    secret: String,
}

impl Drop for S3 {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl S3 {
    fn start() -> S3 {
        S3::with(&[])
    }

    /// One that encrypts, with the certificate for which this authority vouches.
    fn encrypting(ca: &TestCa) -> S3 {
        let file = |name: &str| ca.folder().join(name).display().to_string();
        S3::with(&[file("server.crt"), file("server.key")])
    }

    fn with(tls: &[String]) -> S3 {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/s3/server.py");
        let mut command = Command::new(packages("TRUEUP_TEST_S3", "s3").join("bin/python"));
        command.arg(script).args(tls).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.stderr(Stdio::null()).spawn().unwrap();
        let input = process.stdin.take().unwrap();
        let mut said = BufReader::new(process.stdout.take().unwrap()).lines();
        let begun: Value = serde_json::from_str(&said.next().unwrap().unwrap()).unwrap();
        let scheme = if tls.is_empty() { "http" } else { "https" };
        let url = format!("{scheme}://127.0.0.1:{}", begun["port"]);
        let [id, secret] = ["id", "secret"].map(|name| begun[name].as_str().unwrap().to_owned());
        S3 { process, input, said, url, id, secret }
    }

    fn tell(&mut self, words: &Value) -> Value {
        writeln!(self.input, "{words}").unwrap();
        serde_json::from_str(&self.said.next().unwrap().unwrap()).unwrap()
    }

    fn put(&mut self, key: &str, text: &str) {
        self.tell(&json!({ "put": { key: text } }));
    }

    fn gets(&mut self, key: &str) -> u64 {
        self.tell(&json!({ "gets": key })).as_u64().unwrap()
    }

    /// Puts the three files of a history below `p/`.
    fn put_history(&mut self, folder: &Path) {
        for name in ["a.jsonl", "b.csv", "c.parquet"] {
            let file = folder.join("history").join(name).display().to_string();
            self.tell(&json!({ "put": { format!("p/{name}"): { "file": file } } }));
        }
    }

    /// A command as one who has the key gives it.
    fn command(&self, folder: &Path, arguments: &[&str]) -> Command {
        let mut command = trueup(folder, arguments);
        for others in ["AWS_SESSION_TOKEN", "AWS_CA_BUNDLE", "AWS_ENDPOINT_URL_S3"] {
            command.env_remove(others);
        }
        command
            .env("AWS_ACCESS_KEY_ID", &self.id)
            .env("AWS_SECRET_ACCESS_KEY", &self.secret)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ENDPOINT_URL", &self.url);
        command
    }

    fn backfill(&self, folder: &TempDir, history: &str) -> Output {
        let output =
            self.command(folder.path(), &["backfill", "--history", history]).output().unwrap();
        let told = said(&output);
        assert!(!told.contains(&self.id) && !told.contains(&self.secret), "a secret: {told}");
        output
    }
}

fn lines(ids: Range<i64>) -> String {
    let lines: Vec<String> = ids.map(|id| Payment::of(id).json().to_string()).collect();
    lines.join("\n") + "\n"
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_a_bucket_make_the_state_that_they_make_as_files() {
    let mut s3 = S3::start();
    let (folder, files) = (project("embedded:data"), project("embedded:data"));
    write_history(files.path(), 0..9_000);
    s3.put_history(files.path());
    s3.put("p/", "");
    s3.put("p/_SUCCESS", "a tool's own");
    s3.put("p2.csv", "another's");
    let output = s3.backfill(&folder, "s3://events/p");
    assert_done(&output);
    assert!(said(&output).contains("9000 rows of s3://events/p in"), "{}", said(&output));
    assert!(copies(&folder.path().join("data")).is_empty(), "the copy is left");
    let history = ["backfill", "--history", "history"];
    assert_done(&trueup(files.path(), &history).output().unwrap());
    assert_eq!(state(folder.path()).await, state(files.path()).await);
    assert_taken_over(folder.path(), 9_000, 9_300).await;

    let train = |history: &str, out: &str| {
        let words = ["train", "risk", "--history", history, "--out", out];
        assert_done(&s3.command(files.path(), &words).output().unwrap());
        std::fs::read(files.path().join(out)).unwrap()
    };
    let (objects, files) = (train("s3://events/p/", "o.csv"), train("history", "f.csv"));
    assert!(objects.len() > 100_000 && objects == files, "training sets differ");
}

/// More than one list holds; names that have to be escaped; one object by its key.
#[tokio::test(flavor = "multi_thread")]
async fn all_objects_of_a_long_list_are_read_whatever_they_are_called() {
    let mut s3 = S3::start();
    let folder = project("embedded:data");
    let object = |n: i64| (format!("p/day {n:04}+é=&?/a.jsonl"), lines(3 * n..3 * n + 3).into());
    let all: Map<String, Value> = (0..1_005).map(object).collect();
    s3.tell(&json!({ "put": all }));
    assert_done(&s3.backfill(&folder, "s3://events/p/"));
    assert_taken_over(folder.path(), 3_015, 3_100).await;
    let single = project("embedded:data");
    assert_done(&s3.backfill(&single, "s3://events/p/day 0000+é=&?/a.jsonl"));
    assert_taken_over(single.path(), 3, 100).await;
}

/// The harm: half an object counts as the whole.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_cut_and_servers_that_are_busy_lose_nothing() {
    let mut s3 = S3::start();
    let folder = project("embedded:data");
    s3.put("p/a.jsonl", &lines(0..5_000));
    s3.put("p/b.jsonl", &lines(5_000..9_000));
    let cuts = json!([{ "cut": 100_000 }, { "status": 503 }, { "cut": 0 }, { "cut": 1 }]);
    s3.tell(&json!({ "fault": "p/a.jsonl", "is": cuts }));
    assert_done(&s3.backfill(&folder, "s3://events/p"));
    assert_eq!(s3.gets("p/a.jsonl"), 5);
    assert_taken_over(folder.path(), 9_000, 9_100).await;

    let away = project("embedded:data");
    s3.tell(&json!({ "fault": "p/b.jsonl", "is": vec![json!({ "status": 503 }); 100] }));
    let output = s3.backfill(&away, "s3://events/p");
    assert_refused(&output, "the objects that were copied stay, and the same command goes on");
    s3.tell(&json!({ "fault": "p/b.jsonl", "is": [] }));
    assert_done(&s3.backfill(&away, "s3://events/p"));
    assert_eq!(s3.gets("p/a.jsonl"), 6, "what was copied was not kept");
    assert_taken_over(away.path(), 9_000, 9_100).await;
}

/// The harm: the first half of one object, and the second of another.
#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_changes_during_the_copy_is_refused_and_the_new_one_is_read_whole() {
    let mut s3 = S3::start();
    let folder = project("embedded:data");
    s3.put("p/a.jsonl", &lines(0..1_000));
    s3.put("p/b.jsonl", &lines(1_000..2_000));
    let changed = lines(1_000..3_000);
    s3.tell(&json!({ "fault": "p/b.jsonl", "is": [{ "cut": 50_000 }, { "change": changed }] }));
    let output = s3.backfill(&folder, "s3://events/p");
    assert_refused(&output, "object \"p/b.jsonl\" has changed or gone since it was listed");
    assert_done(&s3.backfill(&folder, "s3://events/p"));
    assert_taken_over(folder.path(), 3_000, 3_100).await;
}

/// The counts must not depend on where it dies, nor on what becomes of the bucket after the copy.
#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_of_objects_that_dies_anywhere_goes_on_and_gets_each_of_them_once() {
    let mut s3 = S3::start();
    let folder = project("embedded:data");
    s3.put("p/a.jsonl", &lines(0..9_000));
    s3.put("p/b.jsonl", &lines(9_000..20_000));
    let begin = ["backfill", "--history", "s3://events/p"];
    let places = [
        "history-object:0",
        "history-object:0",
        "history-whole:0",
        "backfill-begun:0",
        "after-checkpoint:1",
        "backfill-ending:0",
        "backfill-ended:0",
    ];
    for (nth, cue) in places.iter().enumerate() {
        let died = s3.command(folder.path(), &begin).env("TRUEUP_CRASH", cue).output().unwrap();
        assert_eq!(died.status.signal(), Some(SIGABRT), "{cue}: {}", said(&died));
        if nth == 3 {
            // The copy is whole: the bucket is no longer looked at.
            s3.put("p/c.jsonl", "another's");
        }
    }
    let output = s3.backfill(&folder, "s3://events/p");
    assert_done(&output);
    assert!(said(&output).contains("this history is in already"), "{}", said(&output));
    assert_eq!([s3.gets("p/a.jsonl"), s3.gets("p/b.jsonl"), s3.gets("p/c.jsonl")], [1, 1, 0]);
    assert!(copies(&folder.path().join("data")).is_empty(), "the copy is left");
    assert_taken_over(folder.path(), 20_000, 20_100).await;
}

#[test]
fn what_cannot_be_read_is_refused_with_the_remedy_and_without_a_secret() {
    let mut s3 = S3::start();
    let folder = project("embedded:data");
    let refused = |s3: &S3, history: &str, with: &str| {
        assert_refused(&s3.backfill(&folder, history), with);
        assert!(copies(&folder.path().join("data")).is_empty(), "{history}: something is left");
    };
    refused(&s3, "s3://events/p", "the bucket has no object below \"p/\"");
    refused(&s3, "s3://nobodys/p", "there is no bucket nobodys at 127.0.0.1:");
    refused(&s3, "s3://", "is no name of a bucket");
    s3.put("p/a.xml", "<a/>");
    refused(&s3, "s3://events/p", "object \"p/a.xml\": its ending does not say what it is");
    refused(&s3, "s3://events/p/a.xml", "its ending does not say what it is");
    let right = std::mem::replace(&mut s3.secret, "hush-hush".into());
    refused(&s3, "s3://events/p", "it refuses the key of AWS_ACCESS_KEY_ID (403 Forbidden Sig");
    s3.secret.clear();
    let output = s3.command(folder.path(), &["backfill", "--history", "s3://events/p"]).output();
    assert_refused(&output.unwrap(), "set AWS_SECRET_ACCESS_KEY");
    s3.secret = right;
    let there = std::mem::replace(&mut s3.url, "http://127.0.0.1:1".into());
    refused(&s3, "s3://events/p", "127.0.0.1:1: ");
    s3.url = there;
    s3.put("q/a.jsonl", &lines(0..10));
    let up_to = ["backfill", "--history", "s3://events/q", "--up-to", "0:7"];
    let output = s3.command(folder.path(), &up_to).output().unwrap();
    assert_refused(&output, "the log is to take over at 7");
    assert_eq!(s3.gets("q/a.jsonl"), 0, "it was copied before");
    assert_done(&s3.backfill(&folder, "s3://events/q"));
    assert_refused(&s3.backfill(&folder, "s3://events/q"), "has a state already; --again drops");
}

/// The harm: keys and events go to somebody who only says that he is the server.
#[test]
fn a_server_has_to_prove_its_name_to_be_asked_encrypted() {
    let ca = TestCa::new("IP:127.0.0.1", 2);
    let mut s3 = S3::encrypting(&ca);
    s3.put("p/a.jsonl", &lines(0..100));
    let folder = project("embedded:data");
    let output = s3.backfill(&folder, "s3://events/p");
    assert_refused(&output, "the server's certificate is not taken");
    assert!(said(&output).contains("AWS_CA_BUNDLE"), "{}", said(&output));
    let mut command = s3.command(folder.path(), &["backfill", "--history", "s3://events/p"]);
    assert_done(&command.env("AWS_CA_BUNDLE", ca.ca_file()).output().unwrap());
}

/// One bad row of an object says where it stands.
#[test]
fn bad_rows_of_objects_are_dead_letters_with_the_object_and_the_line() {
    let mut s3 = S3::start();
    s3.put("p/a.jsonl", &format!("{}no JSON\n", lines(0..10)));
    let folder = project("embedded:data");
    let output = s3.backfill(&folder, "s3://events/p");
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    let list = trueup(folder.path(), &["dead-letters", "list"]).output().unwrap();
    assert!(said(&list).contains("s3://events/p/a.jsonl, line 11"), "{}", said(&list));
}
