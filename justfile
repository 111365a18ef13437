# The few commands of a day's work; `just` lists them. docs/development.md says more.

all := "--release --workspace --all-features"

# List the commands
default:
    @{{just_executable()}} --list --unsorted

# Format and lints, as ./test holds them
check:
    cargo fmt --all
    cargo clippy {{all}} --all-targets -- -D warnings

# Everything that must hold; installs what is missing
test:
    ./test

# The tests whose names hold WORDS, quickly
only WORDS:
    cargo nextest run {{all}} {{WORDS}}

# All benches, or the one named
bench *NAME:
    cargo bench --workspace --all-features --bench {{ if NAME == "" { "'*'" } else { NAME } }}

# The story in one run
demo *FLAGS:
    cargo run --release -- demo {{FLAGS}}

# The story on real servers: PostgreSQL with 5 million transactions, Redis, a model
story *FLAGS:
    examples/story/run {{FLAGS}}

# Fuzz a target for some seconds
fuzz TARGET SECONDS="600":
    fuzz/run {{TARGET}} {{SECONDS}}

# Faults on real servers, so many in each test: kills, failovers, flushes, moves
chaos ROUNDS="40":
    TRUEUP_CHAOS_ROUNDS={{ROUNDS}} cargo nextest run {{all}} -E 'test(/^pipeline/)' --no-capture

# All faults mixed while readers ask, for so long in all
chaos-mixed MINUTES="30":
    TRUEUP_CHAOS_MINUTES={{MINUTES}} cargo nextest run {{all}} -E 'test(/^chaos::/)' --no-capture
