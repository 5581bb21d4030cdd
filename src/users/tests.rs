//! How `Users` bears outages and loads: on a paused clock, so that "at once" is no time at all.

mod change;
mod cost;
mod lab;
mod load;
mod outage;
