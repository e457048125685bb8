// A link of a chain, see ../node.mjs, of what Java has to serve and to call with: SERVER and CLIENT pick from Servers.java and
// Clients.java. MODE: calls in turn on the request's thread; `submit`: on threads of a pool (POOL, WORKERS), one after the other;
// `late`: all but the first one after the response; `fan`: on threads of the pool, all at once; `stages`: a future of each, the next begun
// by the one before; `permits`: by the JDK's client, two at a time, and every second request does not wait for them; `batch`: one call of
// the program's own for two requests or more, and all of these wait for it; `pump`: by the JDK's client on whichever thread has it
// do so, at most two at a time, the first in a queue first, and a request may send what another one has put there; `share`: one for two
// requests, which the first one makes; `latest`: by threads that take what was put last; `twice`: by a pool's job that gives it to
// another pool. TICK_MS: a call of its own so often.
import java.net.http.HttpClient;
import java.net.http.HttpResponse;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.ForkJoinPool;
import java.util.concurrent.Future;
import java.util.concurrent.FutureTask;
import java.util.concurrent.LinkedBlockingDeque;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.Semaphore;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

public class Link {
  static final int PORT = Integer.parseInt(System.getenv("PORT"));
  static final String[] NEXT = variable("NEXT", "").isEmpty() ? new String[0] : variable("NEXT", "").split(",");
  static final int THREADS = Integer.parseInt(variable("THREADS", "64"));
  static final String MODE = variable("MODE", "");
  static final boolean VIRTUAL = !variable("VIRTUAL", "").isEmpty();
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
    switch (MODE) {
      case "fan" -> fan(path);
      case "stages" -> stages(path, 0).join();
      case "permits" -> permits(path);
      case "batch" -> batch();
      case "pump" -> pump(path);
      case "share" -> share(path);
      case "latest" -> latest(path);
      case "twice" -> twice(path);
      default -> inTurn(path);
    }
  }

  private static void inTurn(String path) throws Exception {
    int count = MODE.equals("late") ? 1 : NEXT.length;
    for (int index = 0; index < count; index++) {
      int each = index;
      if (MODE.equals("submit")) pool.submit(() -> call(path, each)).get();
      else call(path, index);
    }
  }

  private static void fan(String path) throws Exception {
    var jobs = new ArrayList<Future<Void>>();
    for (int index = 0; index < NEXT.length; index++) {
      int each = index;
      jobs.add(pool.submit(() -> call(path, each)));
    }
    for (var job : jobs) job.get();
  }

  private static CompletableFuture<Void> stages(String path, int index) {
    if (index == NEXT.length) return CompletableFuture.completedFuture(null);
    return CompletableFuture.runAsync(() -> {
      try {
        call(path, index);
      } catch (Exception error) {
        throw new CompletionException(error);
      }
    }, pool).thenCompose(nothing -> stages(path, index + 1));
  }

  private static final Semaphore PERMITS = new Semaphore(2);
  private static HttpClient client;
  private static final AtomicInteger COUNT = new AtomicInteger();

  private static void permits(String path) throws Exception {
    boolean waits = variable("WAITS", "").isEmpty() ? COUNT.getAndIncrement() % 2 == 0 : false;
    for (int index = 0; index < NEXT.length; index++) {
      PERMITS.acquire();
      var call = client.sendAsync(Clients.get(NEXT[index] + path + "." + (index + 1)), HttpResponse.BodyHandlers.ofString());
      var done = call.whenComplete((response, error) -> PERMITS.release());
      if (waits) done.join();
    }
  }

  private static final ArrayDeque<Runnable> PUT_OFF = new ArrayDeque<>();
  private static int underWay;

  private static void pump(String path) throws Exception {
    for (int index = 0; index < NEXT.length; index++) {
      var request = Clients.get(NEXT[index] + path + "." + (index + 1));
      var done = new CompletableFuture<Void>();
      synchronized (PUT_OFF) {
        PUT_OFF.add(() -> client.sendAsync(request, HttpResponse.BodyHandlers.ofString()).whenComplete((response, error) -> {
          synchronized (PUT_OFF) {
            underWay--;
          }
          done.complete(null);
          Thread.yield();
          pump();
        }));
      }
      pump();
      done.join();
    }
  }

  private static void pump() {
    while (true) {
      Runnable first;
      synchronized (PUT_OFF) {
        first = underWay < 2 ? PUT_OFF.poll() : null;
        if (first == null) return;
        underWay++;
      }
      first.run();
    }
  }

  private static final ConcurrentHashMap<Integer, CompletableFuture<?>> SHARED = new ConcurrentHashMap<>();

  private static void share(String path) throws Exception {
    int pair = COUNT.getAndIncrement() / 2;
    for (int index = 0; index < NEXT.length; index++) {
      String url = NEXT[index] + path + "." + (index + 1);
      SHARED.computeIfAbsent(pair * NEXT.length + index,
          any -> client.sendAsync(Clients.get(url), HttpResponse.BodyHandlers.ofString())).join();
    }
  }

  private static final LinkedBlockingDeque<Callable<Void>> LATEST = new LinkedBlockingDeque<>();

  private static void latest(String path) throws Exception {
    for (int index = 0; index < NEXT.length; index++) {
      int each = index;
      var job = new FutureTask<Void>(() -> call(path, each));
      LATEST.putFirst(() -> {
        job.run();
        return null;
      });
      job.get();
    }
  }

  private static void takeLatest() {
    while (true) {
      try {
        LATEST.takeFirst().call();
      } catch (Exception error) {
        error.printStackTrace();
      }
    }
  }

  private static ExecutorService second;

  private static void twice(String path) throws Exception {
    for (int index = 0; index < NEXT.length; index++) {
      int each = index;
      var done = new CompletableFuture<Void>();
      pool.execute(() -> second.execute(() -> {
        try {
          call(path, each);
          done.complete(null);
        } catch (Exception error) {
          done.completeExceptionally(error);
        }
      }));
      done.join();
    }
  }

  private static final LinkedBlockingQueue<CompletableFuture<Void>> WAITING = new LinkedBlockingQueue<>();

  private static void batch() throws Exception {
    var done = new CompletableFuture<Void>();
    WAITING.add(done);
    Thread.sleep(ThreadLocalRandom.current().nextInt(6));
    done.join();
  }

  private static void batches() {
    while (true) {
      try {
        var batch = new ArrayList<>(List.of(WAITING.take()));
        var other = WAITING.poll(50, TimeUnit.MILLISECONDS);
        if (other == null) {
          batch.get(0).complete(null);
          continue;
        }
        batch.add(other);
        WAITING.drainTo(batch);
        calls.call(NEXT[0] + "/c/tick");
        for (var one : batch) one.complete(null);
      } catch (Exception error) {
        error.printStackTrace();
      }
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

  /** A thread of the runtime's own for each job: Java 21 or later. */
  static ExecutorService virtual() throws ReflectiveOperationException {
    return (ExecutorService) Executors.class.getMethod("newVirtualThreadPerTaskExecutor").invoke(null);
  }

  private static ExecutorService pool(String kind, int workers) throws ReflectiveOperationException {
    return switch (kind) {
      case "fixed" -> Executors.newFixedThreadPool(workers);
      case "cached" -> Executors.newCachedThreadPool();
      case "virtual" -> virtual();
      case "own", "single" -> Executors.newSingleThreadExecutor();
      case "fork" -> new ForkJoinPool(workers);
      default -> throw new IllegalArgumentException(kind);
    };
  }

  public static void main(String[] args) throws Exception {
    calls = Clients.named(variable("CLIENT", "url"));
    pool = pool(variable("POOL", "fixed"), Integer.parseInt(variable("WORKERS", "8")));
    if (MODE.equals("permits") || MODE.equals("share")) client = Clients.ofJdk(null);
    if (MODE.equals("pump")) client = Clients.ofJdk(variable("POOL", "").equals("own") ? null : Runnable::run);
    second = pool(variable("POOL", "fixed"), Integer.parseInt(variable("WORKERS", "8")));
    if (MODE.equals("latest")) for (int count = 0; count < 4; count++) new Thread(Link::takeLatest).start();
    if (MODE.equals("batch")) new Thread(Link::batches).start();
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
