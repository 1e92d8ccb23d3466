//! Measures dunlin and its peers side by side: what `benches/run` and `benches/instructions` call.
//!
//! ```text
//! compare run FOLDER BENCHES [--quick] [--repetitions N] [--seconds S] [--server NAME]… [CASE]…
//! compare instructions FOLDER BENCHES [NAME]…      counts and prints, writes nothing
//! compare check FOLDER BENCHES [NAME]…             whether each server answers what it should
//! compare render FOLDER BENCHES                    the page and the plots again, from results.json
//! ```
//!
//! FOLDER is where the programs have been built, BENCHES where results.json, README.md and plots/ are.

mod cases;
mod check;
mod driver;
mod instructions;
mod measure;
mod options;
mod plot;
mod process;
mod render;
mod results;
mod run;
mod server;

use options::{Options, Task};
use results::Results;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    process::end_all_on_signal()?;
    let options = Options::parse(std::env::args().skip(1).collect())?;
    let (mut servers, missing) = server::all(&options.folder, &options.benches.join("peers"));
    let is_named = |name: &str| options.servers.iter().any(|other| other == name);
    servers.retain(|it| options.servers.is_empty() || is_named(it.name));
    for name in missing {
        if options.servers.is_empty() || is_named(name) {
            println!("SKIPPED: {name}: it has not been built");
        }
    }
    match options.task {
        Task::Run => run::run(&options, &servers),
        Task::Instructions => run::count(&options, &servers),
        Task::Check => check::check(&servers),
        Task::Render => run::write_page(&options, &Results::read(&options.results())?),
    }
}
