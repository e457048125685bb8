// A link of a chain, see ../node.mjs, of Spring Boot. SERVER: `servlet` (Tomcat) or `reactive` (WebFlux on Reactor Netty). MODE, of the
// former: RestClient over the JDK's HttpClient, in turn on the request's thread; `fan`: all at once by CompletableFuture.supplyAsync
// on the common pool; `submit`: in turn on the application's executor (@Async); `block`: by a WebClient that is waited for. The
// latter calls by WebClient, in turn; `fan`: all at once. VIRTUAL: a virtual thread for each request and job.
import jakarta.servlet.http.HttpServletRequest;
import java.util.ArrayList;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.SpringBootConfiguration;
import org.springframework.boot.WebApplicationType;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.boot.autoconfigure.condition.ConditionalOnWebApplication;
import org.springframework.boot.http.client.ClientHttpRequestFactoryBuilder;
import org.springframework.context.annotation.Import;
import org.springframework.http.server.reactive.ServerHttpRequest;
import org.springframework.scheduling.annotation.Async;
import org.springframework.scheduling.annotation.EnableAsync;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.client.RestClient;
import org.springframework.web.reactive.function.client.WebClient;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

@SpringBootConfiguration
@EnableAutoConfiguration
@EnableAsync
@Import({SpringLink.Servlet.class, SpringLink.Reactive.class, SpringLink.Jobs.class})
public class SpringLink {
  static final String[] NEXT = variable("NEXT", "").isEmpty() ? new String[0] : variable("NEXT", "").split(",");
  static final String MODE = variable("MODE", "");

  static String variable(String name, String otherwise) {
    String value = System.getenv(name);
    return value == null || value.isEmpty() ? otherwise : value;
  }

  static String url(String path, int index) {
    return NEXT[index] + path + "." + (index + 1);
  }

  @ConditionalOnWebApplication(type = ConditionalOnWebApplication.Type.SERVLET)
  public static class Jobs {
    private final RestClient client;

    Jobs(RestClient.Builder builder) {
      client = builder.requestFactory(ClientHttpRequestFactoryBuilder.jdk().build()).build();
    }

    String call(String url) {
      return client.get().uri(url).retrieve().body(String.class);
    }

    @Async
    public CompletableFuture<String> submit(String url) {
      return CompletableFuture.completedFuture(call(url));
    }
  }

  @RestController
  @ConditionalOnWebApplication(type = ConditionalOnWebApplication.Type.SERVLET)
  static class Servlet {
    private final Jobs jobs;
    private final WebClient web;

    Servlet(Jobs jobs, WebClient.Builder builder) {
      this.jobs = jobs;
      web = builder.build();
    }

    @GetMapping("/**")
    String serve(HttpServletRequest request) {
      String path = request.getRequestURI();
      var all = new ArrayList<CompletableFuture<String>>();
      for (int index = 0; index < NEXT.length; index++) {
        String url = url(path, index);
        switch (MODE) {
          case "fan" -> all.add(CompletableFuture.supplyAsync(() -> jobs.call(url)));
          case "submit" -> jobs.submit(url).join();
          case "block" -> web.get().uri(url).retrieve().bodyToMono(String.class).block();
          default -> jobs.call(url);
        }
      }
      all.forEach(CompletableFuture::join);
      return "ok";
    }
  }

  @RestController
  @ConditionalOnWebApplication(type = ConditionalOnWebApplication.Type.REACTIVE)
  static class Reactive {
    private final WebClient web;

    Reactive(WebClient.Builder builder) {
      web = builder.build();
    }

    @GetMapping("/**")
    Mono<String> serve(ServerHttpRequest request) {
      String path = request.getPath().value();
      var calls = Flux.range(0, NEXT.length);
      return (MODE.equals("fan") ? calls.flatMap(index -> call(path, index)) : calls.concatMap(index -> call(path, index)))
          .then(Mono.just("ok"));
    }

    private Mono<String> call(String path, int index) {
      return web.get().uri(url(path, index)).retrieve().bodyToMono(String.class);
    }
  }

  public static void main(String[] args) {
    var application = new SpringApplication(SpringLink.class);
    application.setWebApplicationType(WebApplicationType.valueOf(variable("SERVER", "servlet").toUpperCase()));
    application.setDefaultProperties(Map.of(
        "server.address", "127.0.0.1",
        "server.port", variable("PORT", "0"),
        "server.tomcat.max-keep-alive-requests", "-1",
        "spring.threads.virtual.enabled", String.valueOf(!variable("VIRTUAL", "").isEmpty()),
        "spring.main.banner-mode", "off",
        "logging.level.root", "warn"));
    application.run(args);
  }
}
