//! The README's tour: every command in it is run in a folder of its own, and must print what the
//! README prints.
//!
//! Numbers that differ from run to run (durations, times of day, a log's number) are compared as
//! numbers, whatever they are; all other characters must be the same.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");

/// The headings under which the tours stand.
const TOUR: &str = "## A tour in five minutes";
#[cfg(feature = "kafka")]
const ON_REAL_PARTS: &str = "## On Redis and Kafka";

/// One command and the lines that it prints.
struct Step {
    command: String,
    prints: Vec<String>,
}

fn steps(heading: &str) -> Vec<Step> {
    let text = std::fs::read_to_string(README).unwrap();
    let tour = text.split(heading).nth(1).expect("the README has the tour");
    let tour = tour.split("\n## ").next().unwrap();
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for line in tour.lines() {
        match line.strip_prefix("$ ") {
            _ if line.starts_with("```") => inside = line == "```console",
            Some(command) if inside => {
                steps.push(Step { command: command.into(), prints: Vec::new() });
            }
            None if inside => steps.last_mut().unwrap().prints.push(line.into()),
            _ => {}
        }
    }
    steps
}

/// A line with what differs from run to run made equal.
fn settled(line: &str) -> String {
    let differs = [" us", "as of ", "listening on ", "position ", "state in redis"];
    let line = line.trim_end();
    if !differs.iter().any(|part| line.contains(part)) {
        return line.to_string();
    }
    let mut out = String::new();
    for c in line.chars() {
        match c.is_ascii_digit() {
            true if out.ends_with('#') => {}
            true => out.push('#'),
            false => out.push(c),
        }
    }
    out
}

/// A server in the background, ended with the tour.
struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Tour {
    folder: PathBuf,
    path: String,
    variables: Vec<(&'static str, String)>,
    servers: Vec<Background>,
}

impl Tour {
    fn shell(&self, command: &str) -> Command {
        let mut shell = Command::new("bash");
        shell
            .args(["-c", command])
            .current_dir(&self.folder)
            .env("PATH", &self.path)
            .envs(self.variables.clone())
            .stdin(Stdio::null());
        shell
    }

    fn run(&mut self, step: &Step) -> Vec<String> {
        if let Some(folder) = step.command.strip_prefix("cd ") {
            self.folder = self.folder.join(folder);
            return Vec::new();
        }
        if let Some(command) = step.command.strip_suffix(" &") {
            return self.start(&format!("exec {command}"));
        }
        let output = self.shell(&format!("{} 2>&1", step.command)).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}\n{text}", step.command);
        text.lines().map(String::from).collect()
    }

    /// Starts a server and returns what it says until it listens.
    fn start(&mut self, command: &str) -> Vec<String> {
        let mut child = self.shell(command).stderr(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stderr.take().unwrap());
        self.servers.push(Background(child));
        let mut lines = Vec::new();
        for line in said.lines() {
            lines.push(line.unwrap());
            if lines.last().unwrap().starts_with("listening") {
                break;
            }
        }
        lines
    }
}

fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// Runs a tour with these variables in the environment.
fn walk(heading: &str, variables: &[(&'static str, String)]) {
    let scratch = tempfile::tempdir().unwrap();
    let command = Path::new(env!("CARGO_BIN_EXE_trueup"));
    let path = format!("{}:{}", command.parent().unwrap().display(), env!("PATH"));
    let folder = scratch.path().to_path_buf();
    let mut variables = variables.to_vec();
    variables.push(("TRUEUP_LISTEN", free_address()));
    let mut tour = Tour { folder, path, variables, servers: Vec::new() };
    let steps = steps(heading);
    assert!(steps.len() >= 7, "the tour has {} commands", steps.len());
    for step in &steps {
        let printed = tour.run(step);
        let found: Vec<String> = printed.iter().map(|line| settled(line)).collect();
        let wanted: Vec<String> = step.prints.iter().map(|line| settled(line)).collect();
        assert_eq!(found, wanted, "$ {}\n{}", step.command, printed.join("\n"));
    }
}

#[test]
fn every_command_of_the_tour_prints_what_the_readme_says() {
    walk(TOUR, &[]);
}

#[cfg(feature = "kafka")]
#[test]
fn every_command_of_the_tour_on_redis_and_kafka_prints_what_the_readme_says() {
    let redis = trueup_store::testing::servers::RedisServer::plain();
    let broker = crate::broker::Broker::start();
    broker.make_topic("transactions", 2);
    let source = format!("transactions=kafka://{}/transactions?group=fraud", broker.address());
    let kafka = "batch.num.messages=1,fetch.wait.max.ms=5".to_string();
    walk(
        ON_REAL_PARTS,
        &[("TRUEUP_STORE", redis.url()), ("TRUEUP_SOURCE", source), ("TRUEUP_KAFKA", kafka)],
    );
}
