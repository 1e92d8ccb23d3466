//! `dunlin conns` and `dunlin close`.

use std::io::{self, Write};

use super::Exit;
use super::args::{Args, Filter};
use super::client::{base, bearer, detail, failed, printable};
use super::terminal::say;
use crate::dialect::members::{items, members, string};
use crate::http::percent_encode;
use crate::net::{self, HttpAnswer};

/// Where the control listener of `dunlin` without configuration is.
const DEFAULT_BASE: &str = "http://localhost:2662";

pub(super) fn conns(args: &Args, filter: &Filter) -> Exit {
    let mut query = String::from("/v1/connections?limit=1000");
    for (name, value) in [("user", &filter.user), ("channel", &filter.channel)] {
        if let Some(value) = value {
            query += &format!("&{name}={}", percent_encode(value));
        }
    }
    let mut rows = Vec::new();
    let mut cursor = Some(String::new());
    while let Some(at) = cursor {
        let page = match request(args, "GET", &format!("{query}&cursor={at}"), b"") {
            Ok(page) => page,
            Err(exit) => return exit,
        };
        let read = std::str::from_utf8(&page).ok().and_then(|page| {
            let mut out = io::stdout().lock();
            read_page(page, &mut |connection| {
                if filter.json {
                    writeln!(out, "{connection}")
                } else {
                    rows.extend(row(connection));
                    Ok(())
                }
            })
        });
        cursor = match read {
            Some(Ok(next)) => next,
            // Whoever reads this has had enough, as in `dunlin conns --json | head`.
            Some(Err(_)) => return Exit::Ok,
            None => {
                say(
                    "dunlin: the answer is no list of connections (is this the control listener of a dunlin?)",
                );
                return Exit::Unavailable;
            }
        };
    }
    if !filter.json {
        _ = io::stdout().lock().write_all(table(&rows).as_bytes());
    }
    Exit::Ok
}

/// Shows each connection of a page; answers the cursor of the next one. `None`: this is no such page.
fn read_page(
    page: &str,
    each: &mut dyn FnMut(&str) -> io::Result<()>,
) -> Option<io::Result<Option<String>>> {
    let [connections, next] = members(page, ["connections", "next_cursor"]).ok()?;
    for connection in items(connections?, usize::MAX).ok()? {
        if let Err(error) = each(connection.get()) {
            return Some(Err(error));
        }
    }
    // `null` is no string.
    Some(Ok(string(next?).map(|next| percent_encode(&next))))
}

/// Id, route, user, queued bytes, channels.
type Row = [String; 5];

fn row(connection: &str) -> Option<Row> {
    let keys = ["id", "route", "user", "queued_bytes", "channels"];
    let [id, route, user, queued, channels] = members(connection, keys).ok()?;
    let mut names = Vec::new();
    for channel in items(channels?, usize::MAX).ok()? {
        let [space, name] = members(channel.get(), ["space", "name"]).ok()?;
        let (space, name) = (string(space?)?, string(name?)?);
        names.push(match &*space {
            "pubsub" => name.into_owned(),
            space => format!("{space}:{name}"),
        });
    }
    let names = if names.is_empty() {
        "-".to_owned()
    } else {
        names.join(", ")
    };
    let row = [
        string(id?)?.into_owned(),
        string(route?)?.into_owned(),
        user.and_then(string).map_or("-".to_owned(), Into::into),
        queued?.get().to_owned(),
        names,
    ];
    Some(row.map(|cell| printable(&cell).replace(['\n', '\t'], "\u{fffd}")))
}

/// Columns as wide as they need to be; the last one as long as it likes.
fn table(rows: &[Row]) -> String {
    let heading = ["ID", "ROUTE", "USER", "QUEUED", "CHANNELS"].map(str::to_owned);
    let mut widths = [0; 5];
    for row in rows.iter().chain([&heading]) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut out = String::new();
    for row in [&heading].into_iter().chain(rows) {
        for (at, (cell, width)) in row.iter().zip(widths).enumerate() {
            out.push_str(cell);
            if at + 1 < row.len() {
                let padding = width - cell.chars().count() + 2;
                out.extend(std::iter::repeat_n(' ', padding));
            }
        }
        out.push('\n');
    }
    out
}

pub(super) fn close(args: &Args, id: &str, code: Option<&str>, reason: &str) -> Exit {
    let mut body = String::from("{");
    if let Some(code) = code {
        // Digits only, so it can stand in JSON as it is; which codes there are is for the server to say.
        if code.is_empty() || !code.bytes().all(|byte| byte.is_ascii_digit()) {
            say(&format!(
                "dunlin: {code:?} is no close code: write a number, as in dunlin close {id} 1000"
            ));
            return Exit::Usage;
        }
        body += &format!("\"code\":{code},\"reason\":\"");
        crate::http::json_escape(&mut body, reason);
        body.push('"');
    }
    body.push('}');
    let path = format!("/v1/connections/{}/close", percent_encode(id));
    match request(args, "POST", &path, body.as_bytes()) {
        Ok(answer) => {
            if args.verbose {
                super::terminal::show(&format!(
                    "{}\n",
                    printable(&String::from_utf8_lossy(&answer))
                ));
            }
            Exit::Ok
        }
        Err(exit) => exit,
    }
}

/// The body of a good answer; everything else is told.
fn request(args: &Args, method: &str, path: &str, body: &[u8]) -> Result<Vec<u8>, Exit> {
    let url = format!("{}{path}", base(args, "http", DEFAULT_BASE)?);
    let key = bearer(args)?;
    let mut headers = vec![("Accept", "application/json")];
    headers.extend(key.iter().map(|key| ("Authorization", key.as_str())));
    if !body.is_empty() {
        headers.push(("Content-Type", "application/json"));
    }
    let shown = url.split('?').next().unwrap_or(&url);
    match net::http_request(method, &url, &headers, body) {
        Ok(HttpAnswer {
            status: 200..=299,
            body,
        }) => Ok(body),
        Ok(HttpAnswer { status, body }) => {
            let detail = detail(&body);
            let hint = if detail.contains("nothing is served") {
                " (is this the control listener?)"
            } else {
                ""
            };
            say(&format!(
                "dunlin: {shown}: refused with {status}: {detail}{hint}"
            ));
            Err(Exit::Refused)
        }
        Err(error) => Err(failed(shown, &error)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_page_becomes_a_table() {
        let page = r#"{"connections":[
            {"id":"0-0-1","route":"/ch/{channel}","route_number":3,"user":null,"channels":[
                {"space":"pubsub","name":"n\u001bews"},{"space":"chat","name":"room"}],"queued_bytes":0},
            {"id":"0-1-2","route":"/ws","route_number":0,"user":"tàu","channels":[],"queued_bytes":1234567}
        ],"next_cursor":"2 3"}"#;
        let mut rows = Vec::new();
        let next = read_page(page, &mut |connection| {
            rows.extend(row(connection));
            Ok(())
        });
        assert_eq!(next.unwrap().unwrap().as_deref(), Some("2%203"));
        assert_eq!(
            table(&rows),
            "ID     ROUTE          USER  QUEUED   CHANNELS\n\
             0-0-1  /ch/{channel}  -     0        n\u{fffd}ews, chat:room\n\
             0-1-2  /ws            tàu   1234567  -\n"
        );
        let last = read_page("{\"connections\":[],\"next_cursor\":null}", &mut |_| Ok(()));
        assert_eq!(last.unwrap().unwrap(), None);
        for other in ["", "ok", "{}", "{\"connections\":{},\"next_cursor\":null}"] {
            assert!(read_page(other, &mut |_| Ok(())).is_none(), "{other}");
        }
        assert_eq!(table(&[]).lines().count(), 1);
    }
}
