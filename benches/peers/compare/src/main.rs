//! Measures dunlin and its peers side by side: `compare FOLDER instructions [SERVER]…`, FOLDER is where the programs
//! have been built.

// What counts instructions does not use all of what starts servers yet.
#![allow(dead_code)]

mod driver;
mod instructions;
mod process;
mod server;

use std::path::PathBuf;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    process::end_all_on_signal()?;
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some("instructions")) = (arguments.next(), arguments.next().as_deref())
    else {
        return Err("usage: compare FOLDER instructions [SERVER]…".into());
    };
    let folder = PathBuf::from(folder);
    let names: Vec<String> = arguments.collect();
    let (mut servers, missing) = server::all(&folder, &folder);
    servers.retain(|server| names.is_empty() || names.iter().any(|name| name == server.name));
    println!("not built, so not counted: {}", missing.join(", "));
    for count in instructions::COUNTS {
        for server in &servers {
            match count.measure(server, &folder) {
                Ok(instructions) => println!("{}: {}: {instructions}", count.title, server.name),
                Err(why) => println!("{}: {}: {why}", count.title, server.name),
            }
        }
    }
    Ok(())
}
