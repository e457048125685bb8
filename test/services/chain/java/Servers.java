// How a link serves: by a thread that reads the request itself (the JDK's server, Tomcat, Jetty), by a worker that an I/O thread
// hands it to (Undertow), or within an event loop (Vert.x, which has a client of its own).
import com.sun.net.httpserver.HttpServer;
import io.vertx.core.Future;
import io.vertx.core.VerticleBase;
import io.vertx.core.http.HttpClient;
import io.vertx.core.http.HttpClientRequest;
import io.vertx.core.http.HttpClientResponse;
import io.vertx.core.http.HttpMethod;
import io.vertx.core.http.HttpServerRequest;
import io.vertx.core.http.PoolOptions;
import io.undertow.Undertow;
import io.undertow.server.handlers.BlockingHandler;
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.nio.file.Files;
import java.util.concurrent.Executors;
import org.apache.catalina.startup.Tomcat;
import org.eclipse.jetty.io.Content;
import org.eclipse.jetty.server.Handler;
import org.eclipse.jetty.server.Request;
import org.eclipse.jetty.server.Response;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.util.Callback;

class Servers {
  private static final String HOST = "127.0.0.1";
  private static final byte[] BODY = "ok".getBytes();

  static void start(String name) throws Exception {
    switch (name) {
      case "jdk" -> jdk();
      case "tomcat" -> tomcat();
      case "jetty" -> jetty();
      case "undertow" -> undertow();
      case "vertx" -> vertx();
      default -> throw new IllegalArgumentException(name);
    }
  }

  private static void jdk() throws Exception {
    var server = HttpServer.create(new InetSocketAddress(HOST, Link.PORT), 128);
    server.setExecutor(Link.VIRTUAL ? Link.virtual() : Executors.newFixedThreadPool(Link.THREADS));
    server.createContext("/", exchange -> {
      String path = exchange.getRequestURI().getPath();
      try {
        Link.serve(path);
        exchange.sendResponseHeaders(200, BODY.length);
        exchange.getResponseBody().write(BODY);
        exchange.close();
        Link.answered(path);
      } catch (Exception error) {
        throw new IOException(error);
      }
    });
    server.start();
  }

  private static void tomcat() throws Exception {
    var tomcat = new Tomcat();
    tomcat.setBaseDir(Files.createTempDirectory("chain-tomcat").toString());
    tomcat.setPort(Link.PORT);
    tomcat.getConnector().setProperty("address", HOST);
    tomcat.getConnector().setProperty("maxKeepAliveRequests", "-1");
    // What Spring Boot does with `spring.threads.virtual.enabled`.
    if (Link.VIRTUAL) tomcat.getConnector().getProtocolHandler().setExecutor(Link.virtual());
    var context = tomcat.addContext("", null);
    Tomcat.addServlet(context, "link", new HttpServlet() {
      @Override
      protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
        String path = request.getRequestURI();
        try {
          Link.serve(path);
          response.setContentLength(BODY.length);
          response.getOutputStream().write(BODY);
          response.flushBuffer();
          Link.answered(path);
        } catch (Exception error) {
          throw new IOException(error);
        }
      }
    });
    context.addServletMappingDecoded("/", "link");
    tomcat.start();
  }

  private static void jetty() throws Exception {
    var server = new Server(new InetSocketAddress(HOST, Link.PORT));
    server.setHandler(new Handler.Abstract() {
      @Override
      public boolean handle(Request request, Response response, Callback callback) throws Exception {
        String path = request.getHttpURI().getPath();
        Link.serve(path);
        Content.Sink.write(response, true, "ok", callback);
        Link.answered(path);
        return true;
      }
    });
    server.start();
  }

  private static void undertow() {
    var handler = new BlockingHandler(exchange -> {
      String path = exchange.getRequestPath();
      Link.serve(path);
      exchange.getOutputStream().write(BODY);
      exchange.getOutputStream().close();
      Link.answered(path);
    });
    var builder = Undertow.builder().addHttpListener(Link.PORT, HOST).setHandler(handler);
    builder.setIoThreads(2).setWorkerThreads(Link.THREADS).build().start();
  }

  private static void vertx() throws Exception {
    var vertx = io.vertx.core.Vertx.vertx();
    vertx.deployVerticle(new VerticleBase() {
      @Override
      public Future<?> start() {
        var client = vertx.createHttpClient(new PoolOptions().setHttp1MaxSize(64));
        var server = vertx.createHttpServer().requestHandler(request -> next(client, request, 0));
        return server.listen(Link.PORT, HOST);
      }
    }).await();
  }

  private static void next(HttpClient client, HttpServerRequest request, int index) {
    if (index == Link.NEXT.length) {
      request.response().end("ok");
      return;
    }
    var uri = URI.create(Link.NEXT[index] + request.path() + "." + (index + 1));
    client.request(HttpMethod.GET, uri.getPort(), uri.getHost(), uri.getPath())
        .compose(HttpClientRequest::send)
        .compose(HttpClientResponse::body)
        .onSuccess(body -> next(client, request, index + 1))
        .onFailure(Throwable::printStackTrace);
  }
}
