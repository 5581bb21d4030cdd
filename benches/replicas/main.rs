//! What a shared cache costs and saves: `cargo bench --bench replicas`, about two minutes; with
//! `-- simulate`, how many replicas share a rate limit. It needs `valkey-server`, which `tests/run unit`
//! installs, or `redis-server`.
#![allow(
    clippy::cast_precision_loss,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench fails by panicking and prints its figures"
)]

mod hits;
mod invalidation;
#[path = "../users/lookups.rs"]
mod lookups;
mod misses;
mod outage;
mod replica;
mod simulate;
mod store;

use tikv_jemallocator::Jemalloc;

// The allocator of the binary.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let simulates = std::env::args().any(|argument| argument == "simulate");
    runtime.block_on(async {
        println!("store: {}", store::version());
        if simulates {
            return simulate::run().await;
        }
        hits::compare().await;
        misses::compare().await;
        invalidation::measure().await;
        outage::recover().await;
    });
}
