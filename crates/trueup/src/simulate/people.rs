//! Who pays where: the lasting properties of users and merchants, drawn again from the seed at each
//! use.

use super::random::Random;

/// Countries of the simulated world (ISO 3166-1), the more usual ones first.
const COUNTRIES: [&str; 12] =
    ["DE", "FR", "GB", "IT", "ES", "NL", "PL", "US", "CA", "JP", "AU", "BR"];

/// Merchants that a user goes back to.
const FAVOURITES: i64 = 12;

/// Share of a user's transactions that go to a favourite merchant.
const FAVOURITE_SHARE: f64 = 0.85;

/// Share of transactions made with the user's second card or device, where there is one.
const SECOND_SHARE: f64 = 0.15;

/// Ids of a user's cards and devices start at `user_id` times this.
const IDS_PER_USER: i64 = 10;

/// Ids of thieves' devices start here, above those of every user.
const STRANGE_DEVICES: i64 = 1 << 60;

const PERSON: u64 = 1;
const FAVOURITE: u64 = 2;
const MERCHANT: u64 = 3;

/// A user's lasting properties.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Person {
    user_id: i64,
    /// Median amount of a purchase at an average merchant, cents.
    pub(crate) usual_cents: f64,
    home: usize,
    cards: i64,
    devices: i64,
}

impl Person {
    /// The user with this id under `seed`.
    pub(crate) fn new(seed: u64, user_id: i64) -> Person {
        let mut random = Random::keyed(seed, PERSON, user_id as u64);
        Person {
            user_id,
            usual_cents: random.lognormal(2_500.0, 0.7),
            home: random.zipf(COUNTRIES.len() as u64) as usize - 1,
            cards: random.between(1, 2),
            devices: random.between(1, 2),
        }
    }

    /// Where the user lives.
    pub(crate) fn home(&self) -> &'static str {
        COUNTRIES[self.home]
    }

    /// A country that is not the user's home.
    pub(crate) fn abroad(&self, random: &mut Random) -> &'static str {
        let steps = random.between(1, COUNTRIES.len() as i64 - 1) as usize;
        COUNTRIES[(self.home + steps) % COUNTRIES.len()]
    }

    /// The card that the user takes this time.
    pub(crate) fn card(&self, random: &mut Random) -> i64 {
        self.one_of(self.cards, random)
    }

    /// The device that the user takes this time.
    pub(crate) fn device(&self, random: &mut Random) -> i64 {
        self.one_of(self.devices, random)
    }

    fn one_of(&self, owned: i64, random: &mut Random) -> i64 {
        let second = random.chance(SECOND_SHARE) && owned > 1;
        self.user_id * IDS_PER_USER + i64::from(second)
    }

    /// The merchant of this user's next purchase: mostly a favourite, the first favourites more
    /// often.
    pub(crate) fn merchant(&self, seed: u64, merchants: i64, random: &mut Random) -> i64 {
        if !random.chance(FAVOURITE_SHARE) {
            return any_merchant(merchants, random);
        }
        let place = random.heavy_rank(FAVOURITES as u64);
        let key = self.user_id * FAVOURITES + place as i64;
        any_merchant(merchants, &mut Random::keyed(seed, FAVOURITE, key as u64))
    }
}

/// Any merchant by its popularity: merchant 1 is the busiest, by Zipf's law.
pub(crate) fn any_merchant(merchants: i64, random: &mut Random) -> i64 {
    random.zipf(merchants as u64) as i64
}

/// How dear a merchant is: the factor on what its customers usually pay.
pub(crate) fn price_level(seed: u64, merchant_id: i64) -> f64 {
    Random::keyed(seed, MERCHANT, merchant_id as u64).lognormal(1.0, 0.5)
}

/// A device that no user owns.
pub(crate) fn strange_device(random: &mut Random) -> i64 {
    random.between(STRANGE_DEVICES, 2 * STRANGE_DEVICES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_the_same_at_each_use_and_another_under_another_seed() {
        assert_eq!(Person::new(1, 42).usual_cents, Person::new(1, 42).usual_cents);
        assert_ne!(Person::new(1, 42).usual_cents, Person::new(2, 42).usual_cents);
    }

    #[test]
    fn abroad_is_never_home() {
        let mut random = Random::new(3);
        for user_id in 1..500 {
            let person = Person::new(3, user_id);
            assert_ne!(person.abroad(&mut random), person.home());
        }
    }

    #[test]
    fn most_purchases_are_at_few_merchants() {
        let person = Person::new(4, 7);
        let mut random = Random::new(4);
        let mut counts = std::collections::HashMap::new();
        for _ in 0..1000 {
            *counts.entry(person.merchant(4, 100_000, &mut random)).or_insert(0) += 1;
        }
        let mut counts: Vec<i32> = counts.into_values().collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let favourites: i32 = counts.iter().take(FAVOURITES as usize).sum();
        assert!((800..=930).contains(&favourites), "{favourites}");
    }
}
