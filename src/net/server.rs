//! Listeners and routes, put together.

use std::fmt;
use std::io;

use super::driver::{Driver, Handle};
use super::listener::{Address, AddressError, Listener};
use crate::hub::Handler;
use crate::random::Random;
use crate::server::{Notice, On, RouteError, RouteSettings, Worker, WorkerSettings};

/// Builds a server: addresses, routes, limits.
///
/// Mistakes (an address that is none, two routes for one path) are reported by [`bind`](Self::bind) and
/// [`run`](Self::run), so that the builder reads in one go.
///
/// ```no_run
/// use dunlin::{Context, Handler, Message, Server};
///
/// struct Echo;
/// impl Handler for Echo {
///     fn on_message(&mut self, cx: &mut Context<'_>, message: Message<'_>) {
///         cx.send(message);
///     }
/// }
///
/// # fn main() -> Result<(), dunlin::ServerError> {
/// Server::new().listen("127.0.0.1:8080").route("/echo", || Echo).run()
/// # }
/// ```
#[must_use = "a server does nothing until `run` or `bind` is called"]
pub struct Server {
    settings: WorkerSettings,
    /// Listener number, address, and whether it may be left out if it is taken.
    addresses: Vec<(u16, Address, bool)>,
    routes: Vec<Planned>,
    error: Option<ServerError>,
    on_notice: Box<dyn FnMut(Notice)>,
    #[cfg(feature = "history-log")]
    history_log: Option<super::HistoryLog>,
}

struct Planned {
    template: String,
    on: On,
    settings: RouteSettings,
    handler: Box<dyn Handler>,
}

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}

impl Server {
    /// A server without addresses and routes.
    pub fn new() -> Self {
        Self {
            settings: WorkerSettings::default(),
            addresses: Vec::new(),
            routes: Vec::new(),
            error: None,
            on_notice: Box::new(drop),
            #[cfg(feature = "history-log")]
            history_log: None,
        }
    }

    /// Limits and time-outs of the whole server.
    pub fn settings(mut self, settings: WorkerSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Listens on an address: `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`, `*:8080`, `unix:PATH`.
    /// Port 0 lets the system choose.
    pub fn listen(self, address: &str) -> Self {
        self.listen_as(0, address)
    }

    /// Listens on an address as listener number `listener`, which routes can be bound to.
    pub fn listen_as(mut self, listener: u16, address: &str) -> Self {
        match address.parse() {
            Ok(address) => self.addresses.push((listener, address, false)),
            Err(error) => {
                self.error.get_or_insert(ServerError::Address(error));
            }
        }
        self
    }

    /// As [`listen_as`](Self::listen_as), but if another program listens there already, the server does without
    /// the address: [`Bound::skipped`] names it.
    pub fn listen_if_free(mut self, listener: u16, address: &str) -> Self {
        self = self.listen_as(listener, address);
        if let Some((.., optional)) = self.addresses.last_mut().filter(|_| self.error.is_none()) {
            *optional = true;
        }
        self
    }

    /// Serves a path template on every listener. Templates: `/chat/{group}`; a literal beats a variable.
    pub fn route<H: Handler + 'static>(self, template: &str, handler: impl FnOnce() -> H) -> Self {
        self.route_with(template, On::Every, RouteSettings::default(), handler)
    }

    /// Serves a path template with settings of its own, on some listeners.
    pub fn route_with<H: Handler + 'static>(
        self,
        template: &str,
        on: On,
        settings: RouteSettings,
        handler: impl FnOnce() -> H,
    ) -> Self {
        self.route_boxed(template, on, settings, Box::new(handler()))
    }

    /// The same for any handler.
    pub(crate) fn route_boxed(
        mut self,
        template: &str,
        on: On,
        settings: RouteSettings,
        handler: Box<dyn Handler>,
    ) -> Self {
        self.routes.push(Planned {
            template: template.to_owned(),
            on,
            settings,
            handler,
        });
        self
    }

    /// What channels keep is logged too, so that the next start has it. [`ChannelOptions`](crate::hub::ChannelOptions) say
    /// which channels keep anything. The log is read when the server is bound.
    #[cfg(feature = "history-log")]
    pub fn history_log(mut self, log: super::HistoryLog) -> Self {
        self.history_log = Some(log);
        self
    }

    /// What is to become of lines for the log. The function runs on the loop and must not block.
    pub fn on_notice(mut self, sink: impl FnMut(Notice) + 'static) -> Self {
        self.on_notice = Box::new(sink);
        self
    }

    /// Binds the addresses. From here on clients can connect; they are served once [`Bound::run`] is
    /// called.
    ///
    /// # Errors
    /// An address that cannot be bound, a route that cannot be served.
    pub fn bind(self) -> Result<Bound, ServerError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let mut worker = Worker::new(self.settings, Random::system());
        for route in self.routes {
            worker
                .route(&route.template, route.on, route.settings, route.handler)
                .map_err(ServerError::Route)?;
        }
        #[cfg(feature = "history-log")]
        let journal = match &self.history_log {
            Some(log) => {
                let journal =
                    super::journal::Journal::open(log, &mut worker, super::driver::now_at_start());
                Some(journal.map_err(|error| ServerError::Log(log.path.clone(), error))?)
            }
            None => None,
        };
        let mut bound = Vec::new();
        let mut skipped = Vec::new();
        for (number, address, optional) in self.addresses {
            let listeners = match Listener::bind(&address) {
                Ok(listeners) => listeners,
                Err(error) if optional && error.kind() == io::ErrorKind::AddrInUse => {
                    skipped.push((number, address));
                    continue;
                }
                Err(error) => return Err(ServerError::Bind(address.to_string(), error)),
            };
            bound.extend(listeners.into_iter().map(|listener| (number, listener)));
        }
        let mut driver = Driver::new(worker, bound).map_err(ServerError::Loop)?;
        driver.on_notice = self.on_notice;
        #[cfg(feature = "history-log")]
        {
            driver.journal = journal;
        }
        Ok(Bound { driver, skipped })
    }

    /// Binds and serves until a [`Handle`] ends it.
    ///
    /// # Errors
    /// As [`bind`](Self::bind), or when polling fails.
    pub fn run(self) -> Result<(), ServerError> {
        self.bind()?.run()
    }
}

/// A server whose addresses are bound.
pub struct Bound {
    driver: Driver,
    skipped: Vec<(u16, Address)>,
}

impl Bound {
    /// Every bound address with its listener's number; ports are the real ones.
    pub fn addresses(&self) -> Vec<(u16, Address)> {
        self.driver
            .listeners()
            .filter_map(|(number, listener)| Some((number, listener.local_address().ok()?)))
            .collect()
    }

    /// Addresses of [`listen_if_free`](Server::listen_if_free) that were not free, with their listeners' numbers.
    pub fn skipped(&self) -> &[(u16, Address)] {
        &self.skipped
    }

    /// The port of the first TCP address of listener number `listener`.
    pub fn port(&self, listener: u16) -> Option<u16> {
        self.addresses()
            .into_iter()
            .find_map(|(number, address)| match address {
                Address::Tcp(addr) if number == listener => Some(addr.port()),
                _ => None,
            })
    }

    /// Ends the server from another thread.
    pub fn handle(&self) -> Handle {
        self.driver.handle()
    }

    /// Lets SIGTERM and SIGINT drain the server; the second one ends it at once.
    ///
    /// # Errors
    /// When the system refuses the signal handlers.
    #[cfg(feature = "signals")]
    pub fn watch_signals(&mut self) -> Result<(), ServerError> {
        self.driver.watch_signals().map_err(ServerError::Loop)
    }

    /// Serves until drained or stopped.
    ///
    /// # Errors
    /// When polling fails.
    pub fn run(mut self) -> Result<(), ServerError> {
        self.driver.run().map_err(ServerError::Loop)
    }
}

/// Why a server does not run.
#[derive(Debug)]
pub enum ServerError {
    /// A text that is no address.
    Address(AddressError),
    /// An address that cannot be bound.
    Bind(String, io::Error),
    /// A route that cannot be served.
    Route(RouteError),
    /// The folder of the log of histories cannot be used.
    #[cfg(feature = "history-log")]
    Log(std::path::PathBuf, io::Error),
    /// The loop's own machinery.
    Loop(io::Error),
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(error) => error.fmt(f),
            Self::Bind(address, error) if error.kind() == io::ErrorKind::AddrInUse => {
                write!(
                    f,
                    "cannot listen on {address}: another program listens there already"
                )
            }
            Self::Bind(address, error) => write!(f, "cannot listen on {address}: {error}"),
            Self::Route(error) => error.fmt(f),
            #[cfg(feature = "history-log")]
            Self::Log(path, error) => {
                let path = path.display();
                write!(f, "cannot keep the log of histories in {path}: {error}")
            }
            Self::Loop(error) => write!(f, "the event loop failed: {error}"),
        }
    }
}

impl std::error::Error for ServerError {}
