//! The rules that every store keeps, one function each. A store's tests run [`check`] with a maker
//! of empty stores.

mod plant;

use self::plant::{
    a_first_base_is_a_value_like_any_other, a_first_base_of_another_epoch_is_refused,
    a_first_base_out_of_bounds_is_refused, a_first_base_says_nothing_of_its_space,
    a_first_base_takes_the_place_of_nothing_that_is_there, of_first_bases_put_at_once_one_stands,
};
use super::block_on;
use crate::StoreError;
use crate::store::{
    Append, At, BASE_MARK, Batch, Checkpoint, Detail, Durability, Early, Grown, MAX_KEY_BYTES,
    MAX_NOTE_BYTES, MAX_RECORD_BYTES, Marker, Meta, NEVER_US, Read, Recorded, Space, Stand, Stands,
    Store, Swap, Value,
};
use crate::survey::BucketState;

/// A rule and its sentence.
pub type Rule = (&'static str, fn(&dyn Store));

macro_rules! rules {
    ($($rule:ident),* $(,)?) => {
        /// All rules.
        pub const RULES: &[Rule] = &[$((stringify!($rule), $rule)),*];
    };
}

rules![
    a_key_never_written_reads_as_none,
    a_space_never_written_has_an_empty_meta,
    records_stand_in_the_order_of_their_appending,
    one_batch_may_append_many_records_to_one_key_among_others,
    an_append_says_how_long_its_value_has_become,
    spaces_do_not_see_each_other,
    keys_of_any_bytes_are_apart,
    a_read_of_many_keys_keeps_their_order,
    a_read_returns_the_meta_of_each_key,
    checkpoints_never_go_back,
    checkpoints_of_partitions_and_spaces_are_apart,
    freshness_is_that_of_the_slowest_partition,
    a_marker_is_set_and_withdrawn,
    a_writer_of_another_stand_is_refused_and_nothing_is_written,
    what_is_out_of_bounds_is_refused_and_nothing_is_written,
    a_swap_puts_the_new_base_before_what_was_kept_and_appended_since,
    a_swap_of_other_bytes_is_refused,
    a_swap_of_another_epoch_is_refused,
    a_swap_of_a_key_that_is_gone_is_refused,
    many_swaps_are_judged_one_by_one,
    a_swap_to_nothing_removes_the_key,
    a_dropped_space_is_gone_and_may_begin_again,
    spaces_are_listed_in_order,
    keys_are_walked_in_order_and_in_pieces,
    a_note_is_set_only_where_it_is_the_one_that_was_seen,
    notes_are_of_any_bytes_and_apart_from_each_other_and_from_spaces,
    a_note_above_the_bound_is_refused_and_the_old_one_stays,
    of_writers_that_set_a_note_at_once_one_succeeds,
    a_sync_changes_nothing_that_is_seen,
    stats_count_the_keys,
    a_survey_says_what_a_look_says_and_makes_nothing,
    readers_never_see_a_value_older_than_its_checkpoint,
    an_early_copy_stands_behind_the_value_that_was_read,
    an_early_copy_speaks_of_no_checkpoint,
    early_copies_of_keys_that_are_not_read_are_appended_too,
    an_early_copy_of_a_space_that_nobody_has_begun_is_left_out,
    an_early_copy_that_its_value_has_no_room_for_is_left_out,
    an_early_copy_that_is_out_of_bounds_is_refused_and_nothing_is_written,
    of_those_who_record_at_once_each_reads_all_who_came_before,
    a_first_base_is_a_value_like_any_other,
    a_first_base_takes_the_place_of_nothing_that_is_there,
    a_first_base_of_another_epoch_is_refused,
    a_first_base_says_nothing_of_its_space,
    a_first_base_out_of_bounds_is_refused,
    of_first_bases_put_at_once_one_stands,
];

/// Runs every rule on a store of its own.
///
/// # Panics
/// With the rule's sentence, when a store breaks it.
pub fn check<S: Store>(make: impl Fn() -> S) {
    for (name, rule) in RULES {
        println!("{}", name.replace('_', " "));
        rule(&make());
    }
}

const USERS: [u8; 32] = [1; 32];
const CARDS: [u8; 32] = [2; 32];

fn users(key: &[u8]) -> At<'_> {
    At { space: Space::from(USERS), key }
}

fn cards(key: &[u8]) -> At<'_> {
    At { space: Space::from(CARDS), key }
}

fn done<T>(answer: Result<T, StoreError>) -> T {
    answer.expect("the verb succeeds")
}

fn stands(store: &dyn Store) -> Stands {
    done(block_on(store.look(&[]))).stands
}

fn append(store: &dyn Store, appends: &[Append<'_>]) -> Vec<Grown> {
    done(block_on(store.append(&Batch { appends, ..Batch::under(&stands(store)) })))
}

fn add(store: &dyn Store, at: At<'_>, record: &[u8]) -> Grown {
    append(store, &[Append { at, record }])[0]
}

fn say(store: &dyn Store, checkpoints: &[(Space, Checkpoint)]) {
    done(block_on(store.append(&Batch { checkpoints, ..Batch::under(&stands(store)) })));
}

fn read(store: &dyn Store, at: At<'_>) -> Read {
    done(block_on(store.get(&[at]))).remove(0)
}

fn value(store: &dyn Store, at: At<'_>) -> Option<Value> {
    read(store, at).value
}

fn meta(store: &dyn Store, space: [u8; 32]) -> Meta {
    done(block_on(store.look(&[space.into()]))).metas.remove(0)
}

fn swap(store: &dyn Store, at: At<'_>, replaced: &Value, base: &[u8], kept: &[u8]) -> bool {
    let epoch = read(store, at).stand.epoch;
    done(block_on(store.swap(&[Swap { epoch, at, replaced, base, kept }])))[0]
}

fn checkpoint(partition: u32, offset: u64, fresh_us: i64) -> Checkpoint {
    Checkpoint { source: 9, partition, offset, fresh_us }
}

fn a_key_never_written_reads_as_none(store: &dyn Store) {
    assert_eq!(value(store, users(b"a")), None);
    add(store, users(b"a"), b"x");
    assert_eq!(value(store, users(b"b")), None);
}

fn a_space_never_written_has_an_empty_meta(store: &dyn Store) {
    // When a store began is not said of a space.
    assert_eq!(Meta { began_us: None, ..meta(store, USERS) }, Meta::default());
    let read = read(store, users(b"a")).meta;
    assert_eq!((read.fresh_us, read.complete_since_us, read.offset(0, 0)), (None, None, None));
}

fn records_stand_in_the_order_of_their_appending(store: &dyn Store) {
    for record in [&b"one"[..], b"two", b"", b"three"] {
        add(store, users(b"a"), record);
    }
    assert_eq!(value(store, users(b"a")), Some(Value::new(b"", b"onetwothree")));
}

fn one_batch_may_append_many_records_to_one_key_among_others(store: &dyn Store) {
    let places = [users(b"b"), users(b"a"), cards(b"a"), users(b"b"), users(b"a"), users(b"b")];
    let records: Vec<[u8; 1]> = (b'0'..).take(places.len()).map(|digit| [digit]).collect();
    let appends: Vec<_> =
        places.iter().zip(&records).map(|(&at, record)| Append { at, record }).collect();
    let grown = append(store, &appends);
    assert_eq!(value(store, users(b"a")), Some(Value::new(b"", b"14")));
    assert_eq!(value(store, users(b"b")), Some(Value::new(b"", b"035")));
    assert_eq!(value(store, cards(b"a")), Some(Value::new(b"", b"2")));
    assert_eq!(grown.iter().map(|grown| grown.tail_len).collect::<Vec<_>>(), [3, 2, 1, 3, 2, 3]);
}

fn an_append_says_how_long_its_value_has_become(store: &dyn Store) {
    assert_eq!(add(store, users(b"a"), b"four"), Grown { base_len: 0, tail_len: 4 });
    assert_eq!(add(store, users(b"a"), b"more"), Grown { base_len: 0, tail_len: 8 });
    assert!(swap(store, users(b"a"), &Value::new(b"", b"fourmore"), b"base of 13 B.", b""));
    assert_eq!(add(store, users(b"a"), b"x"), Grown { base_len: 13, tail_len: 1 });
}

fn spaces_do_not_see_each_other(store: &dyn Store) {
    add(store, users(b"a"), b"user");
    add(store, cards(b"a"), b"card");
    assert_eq!(value(store, users(b"a")), Some(Value::new(b"", b"user")));
    assert_eq!(value(store, cards(b"a")), Some(Value::new(b"", b"card")));
}

fn keys_of_any_bytes_are_apart(store: &dyn Store) {
    let long = [0xff; MAX_KEY_BYTES];
    let keys: [&[u8]; 9] =
        [b"", b"\0", b"\0\0", b"a", b"a\0", b"a{b}", b"a}", b"\xff\xff\xff\xff\xff", &long];
    for (nth, key) in keys.iter().enumerate() {
        add(store, users(key), &[nth as u8 + 1]);
    }
    for (nth, key) in keys.iter().enumerate() {
        assert_eq!(
            value(store, users(key)),
            Some(Value::new(b"", &[nth as u8 + 1])),
            "key {key:?}"
        );
    }
}

fn a_read_of_many_keys_keeps_their_order(store: &dyn Store) {
    for key in [b"a", b"b", b"c"] {
        add(store, users(key), key);
    }
    let wanted = [users(b"c"), cards(b"a"), users(b"a"), users(b"x"), users(b"b"), users(b"c")];
    let reads = done(block_on(store.get(&wanted)));
    let tails: Vec<_> =
        reads.iter().map(|read| read.value.as_ref().map_or(&b"-"[..], Value::tail)).collect();
    assert_eq!(tails, [&b"c"[..], b"-", b"a", b"-", b"b", b"c"]);
}

fn a_read_returns_the_meta_of_each_key(store: &dyn Store) {
    say(store, &[(USERS.into(), checkpoint(0, 5, 50)), (CARDS.into(), checkpoint(0, 6, 60))]);
    let reads = done(block_on(store.get(&[users(b"a"), cards(b"a"), users(b"b")])));
    let offsets: Vec<_> = reads.iter().map(|read| read.meta.offset(9, 0)).collect();
    assert_eq!(offsets, [Some(5), Some(6), Some(5)]);
    let stands = stands(store);
    assert!(reads.iter().all(|read| stands.as_slice().contains(&read.stand)));
}

fn checkpoints_never_go_back(store: &dyn Store) {
    say(store, &[(USERS.into(), checkpoint(0, 5, 50))]);
    say(store, &[(USERS.into(), checkpoint(0, 3, 70))]);
    say(store, &[(USERS.into(), checkpoint(0, 4, 10))]);
    assert_eq!(meta(store, USERS).checkpoints, [checkpoint(0, 5, 70)]);
    let high = [(USERS.into(), checkpoint(0, u64::MAX, 1)), (USERS.into(), checkpoint(0, 7, 1))];
    say(store, &high);
    assert_eq!(meta(store, USERS).checkpoints, [checkpoint(0, u64::MAX, 70)]);
}

fn checkpoints_of_partitions_and_spaces_are_apart(store: &dyn Store) {
    let other = Checkpoint { source: 8, ..checkpoint(0, 1, 1) };
    let said = [checkpoint(2, 20, 1), checkpoint(0, 10, 1), other];
    say(store, &said.map(|said| (USERS.into(), said)));
    assert_eq!(meta(store, USERS).checkpoints, [other, checkpoint(0, 10, 1), checkpoint(2, 20, 1)]);
    assert_eq!(meta(store, USERS).offset(9, 2), Some(20));
    assert_eq!(meta(store, USERS).offset(9, 1), None);
    assert_eq!(meta(store, CARDS).checkpoints, []);
}

fn freshness_is_that_of_the_slowest_partition(store: &dyn Store) {
    say(store, &[(USERS.into(), checkpoint(0, 1, 300)), (USERS.into(), checkpoint(1, 9, -200))]);
    assert_eq!(meta(store, USERS).fresh_us, Some(-200));
    say(store, &[(USERS.into(), checkpoint(2, 0, NEVER_US))]);
    assert_eq!(meta(store, USERS).fresh_us, None, "of partition 2 nothing is there");
    assert_eq!(read(store, users(b"a")).meta.fresh_us, None);
    say(store, &[(USERS.into(), checkpoint(2, 0, 7))]);
    assert_eq!(meta(store, USERS).fresh_us, Some(-200));
}

fn a_marker_is_set_and_withdrawn(store: &dyn Store) {
    let steps = [
        (Marker::Begin(17), Some(17)),
        (Marker::Begin(5), Some(17)),
        (Marker::Set(i64::MIN), Some(i64::MIN)),
        (Marker::Withdraw, None),
        (Marker::Begin(-1), Some(-1)),
        (Marker::Set(i64::MAX), Some(i64::MAX)),
    ];
    for (marker, since_us) in steps {
        let markers = &[(USERS.into(), marker)];
        done(block_on(store.append(&Batch { markers, ..Batch::under(&stands(store)) })));
        assert_eq!(meta(store, USERS).complete_since_us, since_us);
        assert_eq!(read(store, users(b"a")).meta.complete_since_us, since_us);
    }
    assert_eq!(meta(store, CARDS).complete_since_us, None);
}

fn a_writer_of_another_stand_is_refused_and_nothing_is_written(store: &dyn Store) {
    let stands = stands(store);
    let found = stands.as_slice()[0];
    let strangers = [
        Stand { epoch: found.epoch ^ 1, ..found },
        Stand { incarnation: found.incarnation ^ 1, ..found },
    ];
    for known in strangers {
        let mut under = stands.as_slice().to_vec();
        under[0] = known;
        let under = Stands::new(under);
        let batch = Batch {
            appends: &[Append { at: users(b"a"), record: b"x" }],
            checkpoints: &[(USERS.into(), checkpoint(0, 1, 1))],
            markers: &[(USERS.into(), Marker::Set(1))],
            ..Batch::under(&under)
        };
        let refused = block_on(store.append(&batch));
        assert_eq!(refused, Err(StoreError::Rewound { known, found }));
    }
    assert_eq!(value(store, users(b"a")), None);
    assert_eq!(meta(store, USERS).complete_since_us, None);
    assert_eq!(meta(store, USERS).checkpoints, []);
    assert_eq!(done(block_on(store.spaces())), []);
}

fn what_is_out_of_bounds_is_refused_and_nothing_is_written(store: &dyn Store) {
    let (key, record) = (vec![0; MAX_KEY_BYTES + 1], vec![0; MAX_RECORD_BYTES + 1]);
    let first = Append { at: users(b"a"), record: b"x" };
    let stands = stands(store);
    let marked = [first, Append { at: users(b"a"), record: &[BASE_MARK, 1] }];
    let batch = Batch { appends: &marked, ..Batch::under(&stands) };
    assert_eq!(block_on(store.append(&batch)), Err(StoreError::Marked));
    for bad in
        [Append { at: users(&key), record: b"x" }, Append { at: users(b"a"), record: &record }]
    {
        let batch = Batch { appends: &[first, bad], ..Batch::under(&stands) };
        let refused = block_on(store.append(&batch));
        assert!(matches!(refused, Err(StoreError::TooLarge { .. })), "{refused:?}");
    }
    assert_eq!(value(store, users(b"a")), None);
}

fn a_swap_puts_the_new_base_before_what_was_kept_and_appended_since(store: &dyn Store) {
    add(store, users(b"a"), b"old young ");
    let replaced = value(store, users(b"a")).expect("it was appended");
    add(store, users(b"a"), b"since");
    assert!(swap(store, users(b"a"), &replaced, b"[old]", b"young "));
    let now = Value::new(b"[old]", b"young since");
    assert_eq!(value(store, users(b"a")), Some(now.clone()));
    assert!(swap(store, users(b"a"), &now, b"[all]", b""));
    assert_eq!(value(store, users(b"a")), Some(Value::new(b"[all]", b"")));
}

fn a_swap_of_other_bytes_is_refused(store: &dyn Store) {
    add(store, users(b"a"), b"one");
    assert!(swap(store, users(b"a"), &Value::new(b"", b"one"), b"base", b""));
    add(store, users(b"a"), b"two");
    let now = value(store, users(b"a"));
    for (base, tail) in
        [("", "one"), ("", "basetwo"), ("base", "twx"), ("base", "twoo"), ("bas", "etwo")]
    {
        let folded = Value::new(base.as_bytes(), tail.as_bytes());
        assert!(!swap(store, users(b"a"), &folded, b"wrong", b""), "{base:?} {tail:?}");
    }
    assert_eq!(value(store, users(b"a")), now);
}

fn a_swap_of_another_epoch_is_refused(store: &dyn Store) {
    add(store, users(b"a"), b"one");
    let replaced = value(store, users(b"a")).expect("it was appended");
    let epoch = read(store, users(b"a")).stand.epoch ^ 1;
    let other = Swap { epoch, at: users(b"a"), replaced: &replaced, base: b"wrong", kept: b"" };
    assert_eq!(done(block_on(store.swap(&[other]))), [false]);
    assert_eq!(value(store, users(b"a")), Some(replaced));
}

fn a_swap_of_a_key_that_is_gone_is_refused(store: &dyn Store) {
    let folded = Value::new(b"", b"one");
    assert!(!swap(store, users(b"a"), &folded, b"base", b""));
    add(store, users(b"b"), b"one");
    assert!(!swap(store, users(b"a"), &folded, b"base", b""));
    assert_eq!(value(store, users(b"a")), None);
}

fn many_swaps_are_judged_one_by_one(store: &dyn Store) {
    let keys = [b"a", b"b", b"c"];
    for key in keys {
        add(store, users(key), key);
    }
    let (mine, stale) = (keys.map(|key| Value::new(b"", key)), Value::new(b"", b"stale"));
    let swaps = [(0, &mine[0]), (1, &stale), (2, &mine[2])].map(|(nth, replaced)| Swap {
        epoch: read(store, users(keys[nth])).stand.epoch,
        at: users(keys[nth]),
        replaced,
        base: b"new",
        kept: b"",
    });
    assert_eq!(done(block_on(store.swap(&swaps))), [true, false, true]);
    assert_eq!(value(store, users(b"a")), Some(Value::new(b"new", b"")));
    assert_eq!(value(store, users(b"b")), Some(Value::new(b"", b"b")));
}

fn a_swap_to_nothing_removes_the_key(store: &dyn Store) {
    add(store, users(b"a"), b"one");
    let replaced = value(store, users(b"a")).expect("it was appended");
    add(store, users(b"a"), b"two");
    assert!(swap(store, users(b"a"), &replaced, b"", b""));
    assert_eq!(value(store, users(b"a")), Some(Value::new(b"", b"two")));
    assert!(swap(store, users(b"a"), &Value::new(b"", b"two"), b"", b""));
    assert_eq!(value(store, users(b"a")), None);
    assert_eq!(done(block_on(store.keys(USERS.into(), None, 9))), Vec::<Vec<u8>>::new());
}

fn a_dropped_space_is_gone_and_may_begin_again(store: &dyn Store) {
    for at in [users(b""), users(b"a"), users(b"\xff"), cards(b"a")] {
        add(store, at, b"one");
        let replaced = value(store, at).expect("it was appended");
        assert!(swap(store, at, &replaced, b"base", b""));
    }
    say(store, &[(USERS.into(), checkpoint(0, 5, 50))]);
    done(block_on(store.drop_space(USERS.into())));
    done(block_on(store.drop_space(USERS.into())));
    assert_eq!(value(store, users(b"a")), None);
    assert_eq!(meta(store, USERS).complete_since_us, None);
    assert_eq!(meta(store, USERS).checkpoints, []);
    assert_eq!(done(block_on(store.spaces())), [Space::from(CARDS)]);
    assert_eq!(add(store, users(b"a"), b"new"), Grown { base_len: 0, tail_len: 3 });
    assert_eq!(value(store, users(b"a")), Some(Value::new(b"", b"new")));
    assert_eq!(value(store, users(b"\xff")), None);
    assert_eq!(value(store, cards(b"a")), Some(Value::new(b"base", b"")));
}

fn spaces_are_listed_in_order(store: &dyn Store) {
    assert_eq!(done(block_on(store.spaces())), []);
    say(store, &[(CARDS.into(), checkpoint(0, 1, 1))]);
    add(store, users(b"a"), b"x");
    assert_eq!(done(block_on(store.spaces())), [Space::from(USERS), Space::from(CARDS)]);
}

fn keys_are_walked_in_order_and_in_pieces(store: &dyn Store) {
    let keys: [&[u8]; 5] = [b"", b"\0", b"a", b"a\0", b"b"];
    for key in keys.iter().rev() {
        add(store, users(key), b"x");
    }
    add(store, cards(b"z"), b"x");
    let replaced = Value::new(b"", b"x");
    assert!(swap(store, users(b"a"), &replaced, b"base", b""));
    for piece in 1..=6 {
        let (mut walked, mut after) = (Vec::new(), None::<Vec<u8>>);
        loop {
            let found = done(block_on(store.keys(USERS.into(), after.as_deref(), piece)));
            assert!(found.len() <= piece);
            let Some(last) = found.last() else { break };
            after = Some(last.clone());
            walked.extend(found);
        }
        assert_eq!(walked, keys, "in pieces of {piece}");
    }
}

fn note(store: &dyn Store, name: &str) -> Option<Vec<u8>> {
    done(block_on(store.note(name)))
}

fn set_note(store: &dyn Store, name: &str, expected: Option<&[u8]>, bytes: &[u8]) -> bool {
    done(block_on(store.set_note(name, expected, bytes)))
}

fn a_note_is_set_only_where_it_is_the_one_that_was_seen(store: &dyn Store) {
    assert_eq!(note(store, "n"), None);
    assert!(!set_note(store, "n", Some(b"one"), b"two"), "there is none");
    assert!(!set_note(store, "n", Some(b""), b"two"), "none is not an empty one");
    assert_eq!(note(store, "n"), None);
    assert!(set_note(store, "n", None, b"one"));
    assert!(!set_note(store, "n", None, b"two"));
    assert!(!set_note(store, "n", Some(b"onE"), b"two"));
    assert_eq!(note(store, "n"), Some(b"one".to_vec()));
    assert!(set_note(store, "n", Some(b"one"), b""));
    assert!(!set_note(store, "n", None, b"two"), "an empty one is not none");
    assert!(set_note(store, "n", Some(b""), b"three"));
    assert_eq!(note(store, "n"), Some(b"three".to_vec()));
}

fn notes_are_of_any_bytes_and_apart_from_each_other_and_from_spaces(store: &dyn Store) {
    let long: Vec<u8> = (0..=255).cycle().take(1 << 16).collect();
    assert!(set_note(store, "a", None, &long));
    assert!(set_note(store, "b", None, b"b"));
    add(store, users(b"a"), b"one");
    done(block_on(store.drop_space(USERS.into())));
    assert_eq!(note(store, "a"), Some(long));
    assert_eq!(note(store, "b"), Some(b"b".to_vec()));
    assert_eq!(done(block_on(store.spaces())), []);
    assert_eq!(done(block_on(store.stats())).keys, 0);
}

fn a_note_above_the_bound_is_refused_and_the_old_one_stays(store: &dyn Store) {
    assert!(set_note(store, "n", None, b"one"));
    let large = vec![b'x'; MAX_NOTE_BYTES + 1];
    let refused = block_on(store.set_note("n", Some(b"one"), &large));
    assert!(matches!(refused, Err(StoreError::TooLarge { .. })), "{refused:?}");
    assert_eq!(note(store, "n"), Some(b"one".to_vec()));
}

/// Each of several threads adds its turns to a number, over and over from what it saw.
fn of_writers_that_set_a_note_at_once_one_succeeds(store: &dyn Store) {
    const WRITERS: u64 = 4;
    const TURNS: u64 = 10;
    let add_one = || loop {
        let seen = note(store, "n");
        let number = seen.as_deref().map_or(0, number_of);
        if set_note(store, "n", seen.as_deref(), &(number + 1).to_le_bytes()) {
            return;
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| (0..TURNS).for_each(|_| add_one()));
        }
    });
    assert_eq!(note(store, "n"), Some((WRITERS * TURNS).to_le_bytes().to_vec()));
}

fn number_of(note: &[u8]) -> u64 {
    u64::from_le_bytes(note.try_into().expect("eight bytes were noted"))
}

fn a_sync_changes_nothing_that_is_seen(store: &dyn Store) {
    add(store, users(b"a"), b"one");
    done(block_on(store.sync()));
    add(store, users(b"a"), b"two");
    let appends = &[Append { at: users(b"a"), record: b"three" }];
    let synced = Durability::Synced;
    let stands = stands(store);
    let batch = Batch { appends, durability: synced, ..Batch::under(&stands) };
    done(block_on(store.append(&batch)));
    assert_eq!(value(store, users(b"a")), Some(Value::new(b"", b"onetwothree")));
}

fn stats_count_the_keys(store: &dyn Store) {
    assert_eq!(done(block_on(store.stats())).keys, 0);
    for at in [users(b"a"), users(b"a"), users(b"b"), cards(b"a")] {
        add(store, at, b"x");
    }
    assert_eq!(done(block_on(store.stats())).keys, 3);
}

fn a_survey_says_what_a_look_says_and_makes_nothing(store: &dyn Store) {
    let spaces = [Space::from(USERS), Space::from(CARDS)];
    let fresh = done(block_on(store.survey(&spaces)));
    assert!(fresh.buckets.iter().all(|bucket| bucket.metas == [(); 2].map(|()| Meta::default())));
    assert_eq!(done(block_on(store.survey(&spaces))).buckets, fresh.buckets, "nothing was made");
    add(store, users(b"a"), b"one");
    say(store, &[(spaces[0], checkpoint(0, 7, 100)), (spaces[0], checkpoint(1, 9, 90))]);
    let look = done(block_on(store.look(&spaces)));
    let survey = done(block_on(store.survey(&spaces)));
    assert_eq!([0, 1].map(|nth| survey.common(nth)), *look.metas);
    let stands: Vec<Stand> = survey.buckets.iter().map(|bucket| bucket.stand).collect();
    assert_eq!(Stands::new(stands), look.stands);
    for bucket in &survey.buckets {
        assert_eq!(bucket.state, BucketState::Sound);
        assert!(bucket.server < survey.servers.len() && bucket.metas.len() == 2);
    }
}

fn tail_len(value: &Value) -> u64 {
    value.tail().len() as u64
}

/// Each batch appends one byte to each of two keys and raises the checkpoint to the number of
/// batches.
fn readers_never_see_a_value_older_than_its_checkpoint(store: &dyn Store) {
    const BATCHES: u64 = 300;
    let under = stands(store);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for batch in 1..=BATCHES {
                let appends = [users(b"a"), users(b"b")].map(|at| Append { at, record: b"." });
                let checkpoints = &[(USERS.into(), checkpoint(0, batch, 0))];
                let batch = Batch { appends: &appends, checkpoints, ..Batch::under(&under) };
                done(block_on(store.append(&batch)));
            }
        });
        loop {
            let reads = done(block_on(store.get(&[users(b"a"), users(b"b")])));
            let applied = |read: &Read| read.meta.offset(9, 0).unwrap_or(0);
            for read in &reads {
                // On a store of several buckets they are read at moments of their own.
                let (held, applied) = (read.value.as_ref().map_or(0, tail_len), applied(read));
                assert!(held >= applied, "{held} records, checkpoint {applied}");
            }
            if applied(&reads[0]) == BATCHES {
                break;
            }
        }
    });
}

/// Bytes that values of these rules have room for.
const ROOM: usize = 100;

fn record(store: &dyn Store, keys: &[At<'_>], appends: &[Append<'_>], room: usize) -> Recorded {
    let early = Early { appends, expiry: &[], room };
    done(block_on(store.record(keys, &early, Detail::Positions)))
}

/// As a writer does before anybody records.
fn begin(store: &dyn Store) {
    say(store, &[(USERS.into(), checkpoint(0, 5, 50)), (CARDS.into(), checkpoint(0, 6, 60))]);
}

fn an_early_copy_stands_behind_the_value_that_was_read(store: &dyn Store) {
    begin(store);
    let copy = |record| [Append { at: users(b"a"), record }];
    let first = record(store, &[users(b"a"), users(b"b")], &copy(b"one"), ROOM);
    let values: Vec<Option<Value>> = first.reads.into_iter().map(|read| read.value).collect();
    assert_eq!((values, first.appended), (vec![None, None], vec![true]));
    add(store, users(b"a"), b"two");
    let second = record(store, &[users(b"a")], &copy(b"three"), ROOM);
    assert_eq!(second.reads[0].value, Some(Value::new(b"", b"onetwo")));
    let replaced = value(store, users(b"a")).expect("it was appended");
    assert_eq!(replaced, Value::new(b"", b"onetwothree"));
    assert!(swap(store, users(b"a"), &replaced, b"base", b""));
    let third = record(store, &[users(b"a")], &copy(b"four"), ROOM);
    assert_eq!(third.reads[0].value, Some(Value::new(b"base", b"")));
    assert_eq!(value(store, users(b"a")), Some(Value::new(b"base", b"four")));
}

fn an_early_copy_speaks_of_no_checkpoint(store: &dyn Store) {
    begin(store);
    let before = [USERS, CARDS].map(|space| meta(store, space));
    let recorded = record(store, &[users(b"a")], &[Append { at: users(b"a"), record: b"x" }], ROOM);
    assert_eq!(recorded.reads[0].meta.offset(9, 0), Some(5));
    assert!(stands(store).as_slice().contains(&recorded.reads[0].stand));
    assert_eq!([USERS, CARDS].map(|space| meta(store, space)), before);
}

fn early_copies_of_keys_that_are_not_read_are_appended_too(store: &dyn Store) {
    begin(store);
    let places = [users(b"a"), cards(b"a"), users(b"b"), users(b"a")];
    let records: [&[u8]; 4] = [b"1", b"2", b"3", b"4"];
    let appends: Vec<_> =
        places.iter().zip(records).map(|(&at, record)| Append { at, record }).collect();
    let recorded = record(store, &[cards(b"a"), cards(b"z")], &appends, ROOM);
    assert!(recorded.reads.iter().all(|read| read.value.is_none()), "read before it was appended");
    assert_eq!(recorded.appended, [true; 4]);
    assert_eq!(value(store, users(b"a")), Some(Value::new(b"", b"14")));
    assert_eq!(value(store, users(b"b")), Some(Value::new(b"", b"3")));
    assert_eq!(value(store, cards(b"a")), Some(Value::new(b"", b"2")));
}

/// The harm: a server that still has definitions whose state was dropped makes values that nobody
/// ever removes.
fn an_early_copy_of_a_space_that_nobody_has_begun_is_left_out(store: &dyn Store) {
    let copy = [Append { at: users(b"a"), record: b"x" }];
    let recorded = record(store, &[users(b"a")], &copy, ROOM);
    assert_eq!((&recorded.reads[0].value, recorded.appended), (&None, vec![false]));
    assert_eq!(done(block_on(store.spaces())), []);
    begin(store);
    assert_eq!(record(store, &[users(b"a")], &copy, ROOM).appended, [true]);
    done(block_on(store.drop_space(USERS.into())));
    assert_eq!(record(store, &[users(b"a")], &copy, ROOM).appended, [false]);
    assert_eq!(value(store, users(b"a")), None);
}

fn an_early_copy_that_its_value_has_no_room_for_is_left_out(store: &dyn Store) {
    begin(store);
    let copies = [b"12".as_slice(), b"345", b"6"];
    let appends = copies.map(|record| Append { at: users(b"a"), record });
    assert_eq!(record(store, &[], &appends, 4).appended, [true, false, true]);
    assert_eq!(value(store, users(b"a")), Some(Value::new(b"", b"126")));
    let full = record(store, &[users(b"a")], &appends, 4);
    assert_eq!(full.appended, [false, false, true]);
    assert_eq!(full.reads[0].value, Some(Value::new(b"", b"126")), "it is read all the same");
}

fn an_early_copy_that_is_out_of_bounds_is_refused_and_nothing_is_written(store: &dyn Store) {
    begin(store);
    let long = vec![1; MAX_RECORD_BYTES + 1];
    for bad in [&long[..], &[BASE_MARK, 1]] {
        let appends = [&b"x"[..], bad].map(|record| Append { at: users(b"a"), record });
        let early = Early { appends: &appends, expiry: &[], room: usize::MAX };
        let refused = block_on(store.record(&[users(b"a")], &early, Detail::Summary));
        let refused = refused.expect_err("it is above the bound, or marked");
        assert!(matches!(refused, StoreError::TooLarge { .. } | StoreError::Marked), "{refused}");
    }
    assert_eq!(value(store, users(b"a")), None);
}

/// The harm: two payments of one card at one instant are each answered as if there were no other.
fn of_those_who_record_at_once_each_reads_all_who_came_before(store: &dyn Store) {
    const CALLERS: usize = 4;
    const TURNS: usize = 25;
    begin(store);
    let turn = |_| {
        let copy = [Append { at: users(b"a"), record: b"." }];
        let recorded = record(store, &[users(b"a")], &copy, ROOM);
        assert_eq!(recorded.appended, [true]);
        recorded.reads[0].value.as_ref().map_or(0, |value| value.tail().len())
    };
    let mut seen: Vec<usize> = std::thread::scope(|scope| {
        let callers: [_; CALLERS] =
            [(); CALLERS].map(|()| scope.spawn(|| (0..TURNS).map(turn).collect::<Vec<_>>()));
        let seen = callers.map(|caller| caller.join().expect("a caller gets its answers"));
        seen.concat()
    });
    seen.sort_unstable();
    assert_eq!(seen, (0..CALLERS * TURNS).collect::<Vec<_>>());
}
