// How a link calls: each keeps its connections.
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.URL;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.concurrent.Executor;
import java.util.concurrent.Executors;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import org.apache.hc.client5.http.classic.methods.HttpGet;
import org.apache.hc.client5.http.impl.classic.HttpClients;
import org.apache.hc.client5.http.impl.io.PoolingHttpClientConnectionManager;
import org.apache.hc.core5.http.io.entity.EntityUtils;

class Clients {
  private static final int MOST = 64;

  static Link.Calls named(String name) {
    return switch (name) {
      case "url" -> url -> {
        var connection = (HttpURLConnection) new URL(url).openConnection();
        try (var body = connection.getInputStream()) {
          body.readAllBytes();
        }
      };
      case "jdk" -> {
        var client = ofJdk(null);
        yield url -> client.send(get(url), HttpResponse.BodyHandlers.ofString());
      }
      case "jdk-async" -> {
        var client = ofJdk(null);
        yield url -> client.sendAsync(get(url), HttpResponse.BodyHandlers.ofString()).join();
      }
      // Its threads have a queue.
      case "jdk-threads" -> {
        var client = ofJdk(Executors.newFixedThreadPool(3));
        yield url -> client.sendAsync(get(url), HttpResponse.BodyHandlers.ofString()).join();
      }
      case "apache" -> ofApache();
      case "okhttp" -> {
        var client = new OkHttpClient();
        yield url -> {
          try (var response = client.newCall(new Request.Builder().url(url).build()).execute()) {
            response.body().string();
          }
        };
      }
      default -> throw new IllegalArgumentException(name);
    };
  }

  static HttpRequest get(String url) {
    return HttpRequest.newBuilder(URI.create(url)).build();
  }

  static HttpClient ofJdk(Executor executor) {
    var builder = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1);
    return (executor == null ? builder : builder.executor(executor)).build();
  }

  private static Link.Calls ofApache() {
    var connections = new PoolingHttpClientConnectionManager();
    connections.setMaxTotal(MOST);
    connections.setDefaultMaxPerRoute(MOST);
    var client = HttpClients.custom().setConnectionManager(connections).build();
    return url -> client.execute(new HttpGet(url), response -> EntityUtils.toString(response.getEntity()));
  }
}
