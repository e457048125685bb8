// A link of a chain on actix-web and awc: threads that each run a loop of their own for tasks that stay there. MODE: join (calls at once).
use actix_web::{web, App, HttpRequest, HttpServer};

fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

async fn call(url: String) {
    thread_local! { static CLIENT: awc::Client = awc::Client::default(); }
    let client = CLIENT.with(Clone::clone);
    client.get(url).send().await.unwrap().body().await.unwrap();
}

async fn serve(request: HttpRequest) -> &'static str {
    let next = env("NEXT");
    let path = request.path().to_string();
    let urls = next.split(',').filter(|url| !url.is_empty()).enumerate();
    let urls = urls.map(|(index, base)| format!("{base}{path}.{}", index + 1));
    if env("MODE") == "join" {
        let all: Vec<_> = urls.map(|url| actix_web::rt::spawn(call(url))).collect();
        for one in all {
            one.await.unwrap();
        }
    } else {
        for url in urls {
            call(url).await;
        }
    }
    "ok"
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    HttpServer::new(|| App::new().default_service(web::to(serve)))
        .workers(env("THREADS").parse().unwrap_or(2))
        .bind(format!("127.0.0.1:{}", env("PORT")))?
        .run()
        .await
}
