//! The rules of first bases.

use super::{USERS, add, begin, block_on, cards, done, meta, read, swap, users, value};
use crate::StoreError;
use crate::store::{At, MAX_KEY_BYTES, MAX_VALUE_BYTES, Meta, Plant, Store, Value};

/// Plants in the epoch that a read finds.
fn plant(store: &dyn Store, at: At<'_>, base: &[u8]) -> bool {
    let epoch = read(store, at).stand.epoch;
    done(block_on(store.plant(&Plant { epoch, at, base, expiry: None })))
}

pub(super) fn a_first_base_is_a_value_like_any_other(store: &dyn Store) {
    assert!(plant(store, users(b"a"), b"base"), "of a space that nobody has written to");
    assert_eq!(value(store, users(b"a")), Some(Value::new(b"base", b"")));
    assert_eq!(value(store, users(b"b")), None);
    assert_eq!(value(store, cards(b"a")), None);
    add(store, users(b"a"), b"one");
    let planted = Value::new(b"base", b"one");
    assert_eq!(value(store, users(b"a")).as_ref(), Some(&planted));
    assert!(swap(store, users(b"a"), &planted, b"next", b""));
    assert_eq!(value(store, users(b"a")), Some(Value::new(b"next", b"")));
}

/// The harm: what is known from elsewhere, and late, puts itself over what the stream brought.
pub(super) fn a_first_base_takes_the_place_of_nothing_that_is_there(store: &dyn Store) {
    begin(store);
    add(store, users(b"tail"), b"one");
    assert!(plant(store, users(b"base"), b"base"));
    for key in [&b"tail"[..], b"base"] {
        let before = value(store, users(key));
        assert!(!plant(store, users(key), b"other"));
        assert_eq!(value(store, users(key)), before);
    }
    let held = value(store, users(b"tail")).expect("it was appended");
    assert!(swap(store, users(b"tail"), &held, b"", b""));
    assert!(plant(store, users(b"tail"), b"other"), "it was removed");
    assert_eq!(value(store, users(b"tail")), Some(Value::new(b"other", b"")));
}

/// The harm: what was worked out before everything was lost comes back as if it were whole.
pub(super) fn a_first_base_of_another_epoch_is_refused(store: &dyn Store) {
    begin(store);
    let at = users(b"a");
    let epoch = read(store, at).stand.epoch ^ 1;
    let refused = Plant { epoch, at, base: b"base", expiry: None };
    assert!(!done(block_on(store.plant(&refused))));
    assert_eq!(value(store, at), None);
}

/// The harm: a space of which one key is known passes for one that a worker has begun; or, when it
/// is not needed any more, is not found.
pub(super) fn a_first_base_says_nothing_of_its_space(store: &dyn Store) {
    assert!(plant(store, users(b"a"), b"base"));
    let known = Meta { began_us: None, ..meta(store, USERS) };
    assert_eq!(known, Meta::default());
    assert_eq!(done(block_on(store.spaces())), [USERS.into()]);
    assert_eq!(done(block_on(store.keys(USERS.into(), None, 9))), [b"a"]);
    done(block_on(store.drop_space(USERS.into())));
    assert_eq!(value(store, users(b"a")), None);
}

pub(super) fn a_first_base_out_of_bounds_is_refused(store: &dyn Store) {
    let (long_key, long) = (vec![1; MAX_KEY_BYTES + 1], vec![1; MAX_VALUE_BYTES + 1]);
    for (key, base) in [(&long_key[..], &b"base"[..]), (b"a", &long)] {
        let plant = Plant { epoch: 0, at: users(key), base, expiry: None };
        let refused = block_on(store.plant(&plant)).expect_err("it is above the bound");
        assert!(matches!(refused, StoreError::TooLarge { .. }), "{refused}");
    }
    assert_eq!(value(store, users(b"a")), None);
}

pub(super) fn of_first_bases_put_at_once_one_stands(store: &dyn Store) {
    begin(store);
    let bases: Vec<[u8; 1]> = (1..=4).map(|nth| [nth]).collect();
    let put: Vec<bool> = std::thread::scope(|scope| {
        let callers = bases.iter().map(|base| scope.spawn(|| plant(store, users(b"a"), base)));
        let callers: Vec<_> = callers.collect();
        callers.into_iter().map(|caller| caller.join().expect("it is answered")).collect()
    });
    let stands = put.iter().position(|&done| done).expect("one was put");
    assert_eq!(put.iter().filter(|&&done| done).count(), 1);
    assert_eq!(value(store, users(b"a")), Some(Value::new(&bases[stands], b"")));
}
