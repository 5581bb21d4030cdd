//! A simulation of many replicas that share a cache and a rate limit: `cargo bench --bench replicas --
//! simulate`, about two minutes. The rate limit in the store is its model, which the integration tests
//! compare with the scripts. The costs of the scripts are measured first.

mod calls;
mod demand;
mod fetch;
mod lane;
mod measured;
mod replica;
mod report;
mod requests;
mod world;

use cognito_lookup::shared_cache::{Call, CallError, Reply};

use self::{demand::Zipf, measured::Measured, world::World};

#[path = "../../src/shared_cache/model/rate_limit.rs"]
#[expect(dead_code, reason = "the model of the store uses all of it")]
mod rate_limit;

/// What is simulated.
#[derive(Clone, Copy, Debug)]
struct Setup {
    replicas: usize,
    people: usize,
    exponent: f64,
    /// Requests a second of the caller that reads single users by Zipf's law.
    singles: f64,
    /// Reads a second of the caller that reads all users evenly, in batches.
    batches: f64,
    /// How long a user is fresh, in seconds.
    fresh_for: u64,
    /// The limit of calls to Cognito in a second.
    limit: u64,
}

/// Measures, simulates and prints.
pub(super) async fn run() {
    let measured = Measured::now().await;
    println!("{measured}");
    println!("assumed: {ASSUMED}\n");
    for (name, demand) in [("below the limit", 1.0), ("far above it", 6.0)] {
        println!(
            "{name}: 100,000 users, {} requests/s by Zipf's law and {} in batches",
            120.0 * demand,
            8.0 * demand
        );
        println!("{}", report::HEAD);
        for replicas in [3, 30, 300] {
            let setup = Setup { replicas, singles: 120.0 * demand, batches: 8.0 * demand, ..BASE };
            println!("{}", World::new(setup).run().line(&measured));
        }
        println!();
    }
    compare_with_formula();
    print_capacity();
}

/// Prints how many calls the formula of `docs/scaling.md` predicts, beside those of the simulation.
fn compare_with_formula() {
    println!(
        "| users | exponent | fresh_for | requests/s | calls/s | by the formula |\n| --- | --- | --- | --- | --- | --- |"
    );
    for (people, exponent, fresh_for, singles) in [
        (1_000, 1.0, 60, 1_000.0),
        (10_000, 1.0, 60, 1_000.0),
        (100_000, 1.0, 60, 300.0),
        (100_000, 1.0, 900, 300.0),
        (100_000, 0.8, 60, 300.0),
        (100_000, 1.2, 60, 300.0),
        (1_000_000, 1.0, 60, 300.0),
    ] {
        let setup =
            Setup { people, exponent, singles, batches: 0.0, fresh_for, limit: 1_000_000, replicas: 10 };
        let report = World::new(setup).run();
        let predicted = Zipf::new(people, exponent).calls(singles, fresh_for as f64);
        println!(
            "| {people} | {exponent} | {fresh_for} s | {singles} | {:.1} | {predicted:.1} |",
            report.calls_per_second()
        );
    }
    println!();
}

/// Prints how many requests a second a limit carries, by the formula.
fn print_capacity() {
    println!("requests a second that a limit of 96 calls a second carries, exponent 1:");
    println!("| users | fresh_for 1 min | 15 min | 1 h | 24 h |\n| --- | --- | --- | --- | --- |");
    for people in [10_000, 1_000_000, 10_000_000, 100_000_000] {
        let carried = [60.0, 900.0, 3_600.0, 86_400.0].map(|ttl| demand::carried(people, 96.0, ttl));
        // All users together cause fewer calls.
        let cells = carried.map(|carried| if carried < 1e8 { format!("{carried:.0}") } else { "any".into() });
        println!("| {people} | {} |", cells.join(" | "));
    }
}

const BASE: Setup = Setup {
    replicas: 3,
    people: 100_000,
    exponent: 1.0,
    singles: 120.0,
    batches: 8.0,
    fresh_for: 60,
    limit: 96,
};
const ASSUMED: &str = "a call to Cognito takes 35 ms in the median and 112 ms at p99 (log-normal); a script takes 0.3 to 1 ms \
                       on the network; callers wait 3 s; 10 min, of which the last 5 count";
