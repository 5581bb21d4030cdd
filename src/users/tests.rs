//! How `Users` bears outages and loads: on a paused clock, so that "at once" is no time at all.

mod change;
mod cost;
mod groups;
mod admin;
mod lab;
mod load;
mod outage;
