// A link of a chain, see node.mjs: the JDK's server with a pool of threads, and what the JDK calls with, which keeps its connections.
// CLIENT: `send` or `async`, by java.net.http.HttpClient, else by HttpURLConnection.
import com.sun.net.httpserver.HttpServer;
import java.net.HttpURLConnection;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.URL;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.concurrent.Executors;

public class Chain {
  static final String CLIENT = variable("CLIENT", "");
  static final HttpClient HTTP = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

  static void call(String url) throws Exception {
    if (!CLIENT.isEmpty()) {
      var request = HttpRequest.newBuilder(URI.create(url)).build();
      var body = HttpResponse.BodyHandlers.ofString();
      if (CLIENT.equals("send")) HTTP.send(request, body);
      else HTTP.sendAsync(request, body).join();
      return;
    }
    HttpURLConnection connection = (HttpURLConnection) new URL(url).openConnection();
    try (var body = connection.getInputStream()) {
      body.readAllBytes();
    }
  }

  static String variable(String name, String otherwise) {
    String value = System.getenv(name);
    return value == null || value.isEmpty() ? otherwise : value;
  }

  public static void main(String[] args) throws Exception {
    String text = variable("NEXT", "");
    String[] next = text.isEmpty() ? new String[0] : text.split(",");
    long think = Long.parseLong(variable("THINK_MS", "0"));
    int threads = Integer.parseInt(variable("THREADS", "64"));
    var address = new InetSocketAddress("127.0.0.1", Integer.parseInt(System.getenv("PORT")));
    HttpServer server = HttpServer.create(address, 128);
    server.setExecutor(Executors.newFixedThreadPool(threads));
    server.createContext("/", exchange -> {
      try {
        Thread.sleep(think);
        String path = exchange.getRequestURI().getPath();
        for (int index = 0; index < next.length; index++) call(next[index] + path + "." + (index + 1));
      } catch (Exception error) {
        error.printStackTrace();
      }
      byte[] body = "ok".getBytes();
      exchange.sendResponseHeaders(200, body.length);
      exchange.getResponseBody().write(body);
      exchange.close();
    });
    server.start();
  }
}
