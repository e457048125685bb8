// A link of a chain, see node.mjs, on tokio. SERVER: axum, or hyper (a task for each connection). CLIENT: reqwest (its pool), hyper (a
// connection for each call, driven by a task of its own), raw (the same, by the task that calls), ureq (blocks). RUNTIME: multi (4 threads), or current (one).
// MODE: turn (calls in turn), join (all at once in one task), spawn (a task for each call), late (calls after the response),
// queue (four workers behind a channel), batch (a worker that answers when it has called for several), limit (a semaphore
// of two), pool (two connections that requests take turns with), actor (one task writes for everybody on one connection),
// lock (a mutex held over the call), stack (workers that take the latest job),
// delay (a worker that answers when it has made the next call), first (a task that the first request starts), swap (each request's task
// puts its call into a list, and makes the latest that is there a millisecond later).
// THINK_MS: a sleep before each call. TICK_MS: calls of no request.
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::client::conn::http1::{handshake, SendRequest};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, Mutex, Notify, OnceCell, Semaphore};

type Job = (String, oneshot::Sender<()>);
type Sender = SendRequest<Empty<Bytes>>;

fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

struct Link {
    next: Vec<String>,
    mode: String,
    client: String,
    think: u64,
    reqwest: reqwest::Client,
    ureq: ureq::Agent,
    jobs: mpsc::UnboundedSender<Job>,
    taken: Mutex<mpsc::UnboundedReceiver<Job>>,
    stack: std::sync::Mutex<Vec<Job>>,
    bell: Notify,
    permits: Semaphore,
    lock: Mutex<()>,
    pool: (mpsc::UnboundedSender<Sender>, Mutex<mpsc::UnboundedReceiver<Sender>>),
    opened: OnceCell<()>,
    first: OnceCell<()>,
}

/// `http://host:port/path` as host:port and path.
fn parts(url: &str) -> (&str, &str) {
    let rest = &url["http://".len()..];
    rest.split_at(rest.find('/').unwrap())
}

async fn open(address: &str) -> Sender {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(async move {
        let _ = connection.await;
    });
    sender
}

/// One request on a connection of its own, and what comes back.
async fn ask(stream: &mut BufReader<TcpStream>, url: &str) {
    let (host, path) = parts(url);
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n").as_bytes()).await.unwrap();
    let (mut length, mut line) = (0, String::new());
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line).await.unwrap();
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    stream.read_exact(&mut vec![0; length]).await.unwrap();
}

async fn send(sender: &mut Sender, url: &str) {
    let (host, path) = parts(url);
    let request = hyper::Request::builder().uri(path).header("host", host).body(Empty::new()).unwrap();
    sender.ready().await.unwrap();
    let response = sender.send_request(request).await.unwrap();
    response.into_body().collect().await.unwrap();
}

impl Link {
    async fn call(&self, url: String) {
        match self.client.as_str() {
            "raw" => ask(&mut BufReader::new(TcpStream::connect(parts(&url).0).await.unwrap()), &url).await,
            "hyper" => send(&mut open(parts(&url).0).await, &url).await,
            "ureq" => {
                let agent = self.ureq.clone();
                tokio::task::spawn_blocking(move || agent.get(&url).call().unwrap().into_string().unwrap()).await.unwrap();
            }
            _ => {
                self.reqwest.get(&url).send().await.unwrap().bytes().await.unwrap();
            }
        }
    }

    async fn from_pool(&self, url: String) {
        let (give, taken) = &self.pool;
        self.opened
            .get_or_init(|| async {
                for _ in 0..2 {
                    let _ = give.send(open(parts(&url).0).await);
                }
            })
            .await;
        let mut sender = taken.lock().await.recv().await.unwrap();
        send(&mut sender, &url).await;
        let _ = give.send(sender);
    }

    /// One task calls for whoever comes.
    async fn work(self: Arc<Self>) {
        loop {
            let (url, done) = self.taken.lock().await.recv().await.unwrap();
            self.call(url).await;
            let _ = done.send(());
        }
    }

    async fn work_from_stack(self: Arc<Self>) {
        loop {
            let job = self.stack.lock().unwrap().pop();
            match job {
                Some((url, done)) => {
                    self.call(url).await;
                    let _ = done.send(());
                }
                None => self.bell.notified().await,
            }
        }
    }

    async fn collect(self: Arc<Self>) {
        loop {
            let mut taken = self.taken.lock().await;
            let mut jobs = vec![taken.recv().await.unwrap()];
            while let Ok(job) = taken.try_recv() {
                jobs.push(job);
            }
            drop(taken);
            for (url, _) in &jobs {
                self.call(url.clone()).await;
            }
            for (_, done) in jobs {
                let _ = done.send(());
            }
        }
    }

    /// Writes for everybody on one connection, and reads what comes back.
    async fn act(self: Arc<Self>) {
        let mut stream: Option<BufReader<TcpStream>> = None;
        let mut taken = self.taken.lock().await;
        while let Some((url, done)) = taken.recv().await {
            if stream.is_none() {
                stream = Some(BufReader::new(TcpStream::connect(parts(&url).0).await.unwrap()));
            }
            ask(stream.as_mut().unwrap(), &url).await;
            let _ = done.send(());
        }
    }

    /// Gives each answer when the next call has been made, while there is more to do.
    async fn delay(self: Arc<Self>) {
        let mut held: Option<oneshot::Sender<()>> = None;
        loop {
            let mut taken = self.taken.lock().await;
            let (url, done) = taken.recv().await.unwrap();
            drop(taken);
            self.call(url).await;
            if let Some(before) = held.take() {
                let _ = before.send(());
            }
            let is_empty = self.taken.lock().await.is_empty();
            if is_empty {
                let _ = done.send(());
            } else {
                held = Some(done);
            }
        }
    }

    async fn hand(&self, url: String) {
        let (done, result) = oneshot::channel();
        if self.mode == "stack" {
            self.stack.lock().unwrap().push((url, done));
            self.bell.notify_one();
        } else {
            let _ = self.jobs.send((url, done));
        }
        let _ = result.await;
    }

    async fn one(self: Arc<Self>, url: String) {
        if self.think > 0 {
            tokio::time::sleep(Duration::from_millis(self.think)).await;
        }
        match self.mode.as_str() {
            "queue" | "batch" | "actor" | "stack" | "delay" => self.hand(url).await,
            "first" => {
                let link = self.clone();
                self.first
                    .get_or_init(|| async {
                        for _ in 0..4 {
                            tokio::spawn(link.clone().work());
                        }
                    })
                    .await;
                self.hand(url).await;
            }
            "swap" => {
                let (done, result) = oneshot::channel();
                self.stack.lock().unwrap().push((url, done));
                tokio::time::sleep(Duration::from_millis(1)).await;
                let latest = self.stack.lock().unwrap().pop();
                if let Some((url, done)) = latest {
                    self.call(url).await;
                    let _ = done.send(());
                }
                let _ = result.await;
            }
            "limit" => {
                let _permit = self.permits.acquire().await.unwrap();
                self.call(url).await;
            }
            "lock" => {
                let _held = self.lock.lock().await;
                self.call(url).await;
            }
            "pool" => self.from_pool(url).await,
            _ => self.call(url).await,
        }
    }

    async fn serve(self: Arc<Self>, path: String) {
        let urls = self.next.iter().enumerate().map(|(index, base)| format!("{base}{path}.{}", index + 1));
        match self.mode.as_str() {
            "join" => {
                let all: Vec<_> = urls.map(|url| Box::pin(self.clone().one(url))).collect();
                join_all(all).await;
            }
            "spawn" => {
                let all: Vec<_> = urls.map(|url| tokio::spawn(self.clone().one(url))).collect();
                for one in all {
                    one.await.unwrap();
                }
            }
            "late" => {
                let (link, urls) = (self.clone(), urls.collect::<Vec<_>>());
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(3)).await;
                    for url in urls {
                        link.clone().one(url).await;
                    }
                });
            }
            _ => {
                for url in urls {
                    self.clone().one(url).await;
                }
            }
        }
    }
}

/// Polls all of them whenever one of them may go on, in the task that waits.
async fn join_all<F: std::future::Future<Output = ()> + Unpin>(mut all: Vec<F>) {
    std::future::poll_fn(|context| {
        all.retain_mut(|one| std::pin::Pin::new(one).poll(context).is_pending());
        if all.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await
}

async fn run() {
    let (jobs, taken) = mpsc::unbounded_channel();
    let (give, pooled) = mpsc::unbounded_channel();
    let next = env("NEXT");
    let link = Arc::new(Link {
        next: next.split(',').filter(|url| !url.is_empty()).map(str::to_string).collect(),
        mode: env("MODE"),
        client: env("CLIENT"),
        think: env("THINK_MS").parse().unwrap_or(0),
        reqwest: reqwest::Client::new(),
        ureq: ureq::agent(),
        jobs,
        taken: Mutex::new(taken),
        stack: std::sync::Mutex::new(vec![]),
        bell: Notify::new(),
        permits: Semaphore::new(2),
        lock: Mutex::new(()),
        pool: (give, Mutex::new(pooled)),
        opened: OnceCell::new(),
        first: OnceCell::new(),
    });
    for _ in 0..4 {
        match link.mode.as_str() {
            "queue" => drop(tokio::spawn(link.clone().work())),
            "stack" => drop(tokio::spawn(link.clone().work_from_stack())),
            _ => {}
        }
    }
    match link.mode.as_str() {
        "batch" => drop(tokio::spawn(link.clone().collect())),
        "delay" => drop(tokio::spawn(link.clone().delay())),
        "actor" => drop(tokio::spawn(link.clone().act())),
        _ => {}
    }
    if let Ok(tick) = env("TICK_MS").parse() {
        let link = link.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(tick)).await;
                let url = format!("{}/c/tick", link.next[0]);
                link.call(url).await;
            }
        });
    }
    let listener = TcpListener::bind(format!("127.0.0.1:{}", env("PORT"))).await.unwrap();
    if env("SERVER") == "hyper" {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let link = link.clone();
            tokio::spawn(async move {
                let service = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                    let link = link.clone();
                    async move {
                        link.serve(request.uri().path().to_string()).await;
                        Ok::<_, Infallible>(hyper::Response::new(Full::new(Bytes::from_static(b"ok"))))
                    }
                });
                let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    }
    let app = axum::Router::new().fallback(move |uri: axum::http::Uri| {
        let link = link.clone();
        async move {
            link.serve(uri.path().to_string()).await;
            "ok"
        }
    });
    axum::serve(listener, app).await.unwrap();
}

fn main() {
    let mut builder = match env("RUNTIME").as_str() {
        "current" => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if env("RUNTIME") != "current" {
        builder.worker_threads(4);
    }
    builder.enable_all().build().unwrap().block_on(run());
}
