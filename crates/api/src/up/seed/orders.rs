//! Invented orders: the same on every machine, obviously synthetic, about nobody.
//!
//! Addresses are of domains reserved for documentation (RFC 2606), telephone numbers of ranges
//! reserved for fiction (North American 555-01xx; the French and German drama numbers), and cards
//! and accounts are the well-known examples of their standards.

use portcullis_domain::Pool;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;
use sha2::{Digest, Sha256};
use time::{Date, Duration, Month};

/// Orders of a tenant in its home pool.
pub(super) const AT_HOME: u32 = 5_190;
/// Orders of a tenant in each other pool.
pub(super) const ABROAD: u32 = 1_730;
/// Customers whose orders they are.
const CUSTOMERS: u32 = 600;
/// How many days have orders, each about as many: 2025-06-01 to 2025-11-20.
const DAYS: u32 = 173;

const GIVEN: &[&str] = &[
    "Alex", "Ari", "Charlie", "Dana", "Eli", "Jo", "Kim", "Lou", "Max", "Noa", "Robin", "Sam",
    "Sasha", "Toni", "Val", "Yuki",
];
const FAMILY: &[&str] = &[
    "Demo",
    "Dummy",
    "Ejemplo",
    "Esempio",
    "Example",
    "Exemple",
    "Fixture",
    "Muster",
    "Placeholder",
    "Sample",
    "Specimen",
    "Synthetic",
    "Template",
    "Tester",
    "Voorbeeld",
];
const STATUS: &[&str] = &[
    "open", "paid", "paid", "shipped", "shipped", "shipped", "returned",
];
const REMARKS: &[&str] = &[
    "Leave at the reception.",
    "Ring twice.",
    "Gift wrapping.",
    "Deliver in the morning.",
];

/// One invented order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) id: String,
    pub(super) customer_id: String,
    pub(super) customer_name: String,
    pub(super) email: String,
    pub(super) phone: String,
    pub(super) total_cents: i64,
    pub(super) currency: &'static str,
    pub(super) status: &'static str,
    pub(super) placed_on: Date,
    pub(super) note: String,
}

struct Customer {
    id: String,
    name: String,
    email: String,
    phone: String,
}

/// The orders of one tenant in one pool, the earliest days first within each round of days.
pub(super) fn orders(tenant: &str, pool: Pool, count: u32) -> Vec<Order> {
    let mut random = ChaCha12Rng::from_seed(digest(&[tenant, pool.as_str(), "orders"]));
    let customers: Vec<Customer> = (0..CUSTOMERS)
        .map(|number| customer(tenant, pool, number, &mut random))
        .collect();
    (0..count)
        .filter_map(|number| {
            let customer = customers.choose(&mut random)?;
            Some(order(tenant, pool, number, customer, &mut random))
        })
        .collect()
}

fn order(
    tenant: &str,
    pool: Pool,
    number: u32,
    customer: &Customer,
    random: &mut ChaCha12Rng,
) -> Order {
    let day = i64::from(number % DAYS);
    Order {
        id: id_of(tenant, pool, number),
        customer_id: customer.id.clone(),
        customer_name: customer.name.clone(),
        email: customer.email.clone(),
        phone: customer.phone.clone(),
        total_cents: random.random_range(500..=250_000),
        currency: match pool {
            Pool::EuWest => "EUR",
            Pool::UsEast => "USD",
        },
        status: STATUS.choose(random).copied().unwrap_or("open"),
        placed_on: first_day().saturating_add(Duration::days(day)),
        note: note(customer, random),
    }
}

/// Now and then a note holds what should not be in it, as notes of people do.
fn note(customer: &Customer, random: &mut ChaCha12Rng) -> String {
    match random.random_range(0..40) {
        0..=5 => REMARKS
            .choose(random)
            .copied()
            .unwrap_or_default()
            .to_owned(),
        6 => format!("Call {} before delivery.", customer.phone),
        7 => format!("Invoice to {}, please.", customer.email),
        8 => "Paid with 4111 1111 1111 1111.".to_owned(),
        9 => "Refund to DE89 3704 0044 0532 0130 00.".to_owned(),
        _ => String::new(),
    }
}

fn customer(tenant: &str, pool: Pool, number: u32, random: &mut ChaCha12Rng) -> Customer {
    let given = GIVEN.choose(random).copied().unwrap_or("Alex");
    let family = FAMILY.choose(random).copied().unwrap_or("Example");
    let host = match pool {
        Pool::EuWest => "example.org",
        Pool::UsEast => "example.com",
    };
    let front = format!("{given}.{family}").to_ascii_lowercase();
    Customer {
        id: id("cus", tenant, pool, number),
        name: format!("{given} {family}"),
        email: format!("{front}.{number}@{host}"),
        phone: phone(pool, random),
    }
}

fn phone(pool: Pool, random: &mut ChaCha12Rng) -> String {
    match pool {
        Pool::UsEast => format!("+1 202-555-01{:02}", random.random_range(0..100)),
        Pool::EuWest if random.random_bool(0.5) => {
            let (a, b) = (random.random_range(0..100), random.random_range(0..100));
            format!("+33 1 99 00 {a:02} {b:02}")
        }
        Pool::EuWest => format!("+49 30 23125 {:03}", random.random_range(0..1000)),
    }
}

/// The id of a tenant's order in a pool, by its number there.
pub(super) fn id_of(tenant: &str, pool: Pool, number: u32) -> String {
    id("ord", tenant, pool, number)
}

/// An id that tells nothing of its order and differs between tenants.
fn id(front: &str, tenant: &str, pool: Pool, number: u32) -> String {
    let digest = digest(&[front, tenant, pool.as_str(), &number.to_string()]);
    let digits: String = hex::encode(digest).chars().take(16).collect();
    format!("{front}_{digits}")
}

fn digest(parts: &[&str]) -> [u8; 32] {
    Sha256::digest(parts.join("\u{1f}")).into()
}

fn first_day() -> Date {
    Date::from_calendar_date(2025, Month::June, 1).unwrap_or(Date::MIN)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use time::macros::date;

    use super::*;

    #[test]
    fn the_same_orders_are_made_everywhere() {
        let first = orders("acme", Pool::EuWest, 500);
        assert_eq!(first, orders("acme", Pool::EuWest, 500));
        // Pinned: documents and tests name this order.
        assert_eq!(first[0].id, id_of("acme", Pool::EuWest, 0));
        assert_eq!(first[0].placed_on, date!(2025 - 06 - 01));
    }

    #[test]
    fn ids_differ_between_tenants_and_pools() {
        let mut seen = BTreeSet::new();
        for tenant in ["acme", "globex"] {
            for pool in Pool::ALL {
                for order in orders(tenant, pool, AT_HOME) {
                    assert!(seen.insert(order.id));
                }
            }
        }
    }

    #[test]
    fn every_day_has_orders() {
        let mut days = BTreeMap::new();
        for order in orders("acme", Pool::EuWest, AT_HOME) {
            *days.entry(order.placed_on).or_insert(0) += 1;
        }
        assert_eq!(days.len(), usize::try_from(DAYS).unwrap());
        assert_eq!(days.keys().next_back(), Some(&date!(2025 - 11 - 20)));
        assert!(days.values().all(|count| *count >= 30));
    }

    #[test]
    fn nobody_real_can_be_reached_at_them() {
        for pool in Pool::ALL {
            for order in orders("globex", pool, AT_HOME) {
                let host = order.email.split_once('@').unwrap().1;
                assert!(matches!(host, "example.com" | "example.org"), "{host}");
                let fiction = ["+1 202-555-01", "+33 1 99 00 ", "+49 30 23125 "];
                assert!(fiction.iter().any(|front| order.phone.starts_with(front)));
            }
        }
    }

    #[test]
    fn some_notes_hold_what_they_should_not() {
        let notes: Vec<_> = orders("acme", Pool::EuWest, AT_HOME)
            .into_iter()
            .map(|order| order.note)
            .collect();
        for mark in ["Call +", "@example.org", "4111", "DE89"] {
            assert!(notes.iter().any(|note| note.contains(mark)), "{mark}");
        }
    }
}
