//! Tasks that one replica does for all, over a model of the store.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use futures_util::future::join_all;
use tokio::time::{sleep, timeout};

use super::{super::*, lab::Lab, replicas::Fleet};

/// A task that takes longer than a lease lasts, and counts how often it was done.
#[derive(Default)]
struct Task(AtomicUsize);

impl Task {
    async fn do_by(&self, lab: &Lab, name: &str, succeeds: bool) -> bool {
        let task = async {
            sleep(LENGTH).await;
            self.0.fetch_add(1, Relaxed);
            succeeds
        };
        lab.users.do_for_all(name, task).await
    }

    fn done(&self) -> usize {
        self.0.load(Relaxed)
    }
}

const LENGTH: Duration = Duration::from_secs(25);

#[tokio::test(start_paused = true)]
async fn one_replica_does_a_task_for_all_and_those_that_start_soon() {
    let (fleet, task) = (Fleet::start(3).await, Task::default());
    let by_all = join_all(fleet.labs.iter().map(|lab| task.do_by(lab, "a task", true)));
    assert_eq!((by_all.await, task.done()), (vec![true; 3], 1));
    sleep(Duration::from_secs(9 * 60)).await;
    assert!(task.do_by(&fleet.join().await, "a task", true).await);
    assert_eq!(task.done(), 1);
    sleep(Duration::from_secs(60)).await;
    assert!(task.do_by(&fleet.join().await, "a task", true).await);
    assert_eq!(task.done(), 2, "it was long ago");
}

#[tokio::test(start_paused = true)]
async fn a_task_of_another_name_is_another_one() {
    let (fleet, task) = (Fleet::start(2).await, Task::default());
    let names = ["for one pool", "for two pools"];
    let both = join_all(fleet.labs.iter().zip(names).map(|(lab, name)| task.do_by(lab, name, true)));
    assert_eq!((both.await, task.done()), (vec![true; 2], 2));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_failed_or_whose_replica_ended_is_done_by_another() {
    let (fleet, task) = (Fleet::start(2).await, Task::default());
    assert!(!task.do_by(fleet.lab(0), "a task", false).await);
    assert!(task.do_by(fleet.lab(1), "a task", true).await);
    assert_eq!(task.done(), 2);
    let ended = timeout(Duration::from_secs(5), task.do_by(fleet.lab(0), "another", true)).await;
    assert!(ended.is_err());
    let begun = Instant::now();
    assert!(task.do_by(fleet.lab(1), "another", true).await);
    assert!(begun.elapsed() <= LENGTH + Duration::from_secs(11), "{:?}", begun.elapsed());
    assert_eq!(task.done(), 3);
}

#[tokio::test(start_paused = true)]
async fn without_the_store_a_replica_does_a_task_itself() {
    let (fleet, task) = (Fleet::start(2).await, Task::default());
    fleet.links[0].change(|faults| faults.is_cut_off = true);
    let both = join_all(fleet.labs.iter().map(|lab| task.do_by(lab, "a task", true)));
    assert_eq!((both.await, task.done()), (vec![true; 2], 2));
}
