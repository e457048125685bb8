// A link of a chain, see ../node.mjs, of what Java has to serve and to call with: SERVER and CLIENT pick from Servers.java and
// Clients.java. MODE: calls in turn on the request's thread; `submit`: on threads of a pool (POOL, WORKERS), one after the other;
// `late`: all but the first one after the response. TICK_MS: a call of its own so often.
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.ForkJoinPool;
import java.util.concurrent.TimeUnit;

public class Link {
  static final int PORT = Integer.parseInt(System.getenv("PORT"));
  static final String[] NEXT = variable("NEXT", "").isEmpty() ? new String[0] : variable("NEXT", "").split(",");
  static final int THREADS = Integer.parseInt(variable("THREADS", "64"));
  static final String MODE = variable("MODE", "");
  private static final int TICK_MS = Integer.parseInt(variable("TICK_MS", "0"));
  private static Calls calls;
  private static ExecutorService pool;

  interface Calls {
    void call(String url) throws Exception;
  }

  static String variable(String name, String otherwise) {
    String value = System.getenv(name);
    return value == null || value.isEmpty() ? otherwise : value;
  }

  /** What a request does before it is answered. */
  static void serve(String path) throws Exception {
    int count = MODE.equals("late") ? 1 : NEXT.length;
    for (int index = 0; index < count; index++) {
      int each = index;
      if (MODE.equals("submit")) pool.submit(() -> call(path, each)).get();
      else call(path, index);
    }
  }

  /** What it does then. */
  static void answered(String path) throws Exception {
    if (!MODE.equals("late")) return;
    for (int index = 1; index < NEXT.length; index++) call(path, index);
  }

  private static Void call(String path, int index) throws Exception {
    calls.call(NEXT[index] + path + "." + (index + 1));
    return null;
  }

  private static ExecutorService pool(String kind, int workers) {
    return switch (kind) {
      case "fixed" -> Executors.newFixedThreadPool(workers);
      case "cached" -> Executors.newCachedThreadPool();
      case "fork" -> new ForkJoinPool(workers);
      default -> throw new IllegalArgumentException(kind);
    };
  }

  public static void main(String[] args) throws Exception {
    calls = Clients.named(variable("CLIENT", "url"));
    pool = pool(variable("POOL", "fixed"), Integer.parseInt(variable("WORKERS", "8")));
    Servers.start(variable("SERVER", "jdk"));
    if (TICK_MS == 0) return;
    Executors.newSingleThreadScheduledExecutor().scheduleAtFixedRate(() -> {
      try {
        calls.call(NEXT[0] + "/c/tick");
      } catch (Exception error) {
        error.printStackTrace();
      }
    }, TICK_MS, TICK_MS, TimeUnit.MILLISECONDS);
  }
}
