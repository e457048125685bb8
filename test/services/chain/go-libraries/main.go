// A link of a chain, see node.mjs, of libraries that Go services are made of. SERVER: chi (on net/http, the default), gin, echo, fiber,
// fasthttp. CLIENT: net/http's by default, limited (to two connections), proxy (httputil.ReverseProxy), resty, fiber, fasthttp, deadline (its
// DoTimeout), waits (for one of its two connections). MODE, how calls are made, in turn by default: errgroup; limit (errgroup, one at a
// time); single, singlechan (singleflight, of what all ask for); timeout (each has 5 ms); outlive (the response does not wait for all
// calls); late (after the response); loaders (a DataLoader for each request), loader (one for all); collect, tell (the same by hand: a goroutine
// that the first one starts calls for all that have come, and closes a channel, or tells by a sync.Cond), count (likewise, by a sync.WaitGroup); ants (as many
// goroutines as are needed), antsblock (four), pond; list, stack (the oldest or latest job of a list, by goroutines that are started as
// they are needed); pq, pgx, redis (a query before each call).
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/alitto/pond/v2"
	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/go-resty/resty/v2"
	"github.com/gofiber/fiber/v2"
	"github.com/graph-gophers/dataloader/v7"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/labstack/echo/v4"
	_ "github.com/lib/pq"
	"github.com/panjf2000/ants/v2"
	"github.com/redis/go-redis/v9"
	"github.com/valyala/fasthttp"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"
)

type caller func(ctx context.Context, url string) error

func netHTTP() caller {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
	return func(ctx context.Context, url string) error {
		request, err := http.NewRequestWithContext(ctx, "GET", url, nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		io.Copy(io.Discard, response.Body)
		return response.Body.Close()
	}
}

func newCaller(kind string) caller {
	switch kind {
	case "resty":
		client := resty.New()
		return func(ctx context.Context, url string) error {
			_, err := client.R().SetContext(ctx).Get(url)
			return err
		}
	case "fasthttp", "deadline":
		client := &fasthttp.Client{MaxConnsPerHost: 100}
		return func(_ context.Context, url string) error {
			request, response := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
			defer fasthttp.ReleaseRequest(request)
			defer fasthttp.ReleaseResponse(response)
			request.SetRequestURI(url)
			if kind == "deadline" {
				return client.DoTimeout(request, response, 5*time.Second)
			}
			return client.Do(request, response)
		}
	case "waits":
		client := &fasthttp.Client{MaxConnsPerHost: 2, MaxConnWaitTimeout: 20 * time.Second}
		return func(_ context.Context, url string) error {
			_, _, err := client.Get(nil, url)
			return err
		}
	case "fiber":
		return func(_ context.Context, url string) error {
			_, _, errs := fiber.Get(url).Bytes()
			return errors.Join(errs...)
		}
	case "limited":
		client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 2, MaxIdleConnsPerHost: 2}}
		return func(ctx context.Context, url string) error {
			request, _ := http.NewRequestWithContext(ctx, "GET", url, nil)
			response, err := client.Do(request)
			if err != nil {
				return err
			}
			io.Copy(io.Discard, response.Body)
			return response.Body.Close()
		}
	case "proxy":
		proxies := map[string]*httputil.ReverseProxy{}
		var lock sync.Mutex
		return func(ctx context.Context, at string) error {
			parsed, err := url.Parse(at)
			if err != nil {
				return err
			}
			lock.Lock()
			proxy := proxies[parsed.Host]
			if proxy == nil {
				proxy = httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: parsed.Host})
				proxies[parsed.Host] = proxy
			}
			lock.Unlock()
			request, _ := http.NewRequestWithContext(ctx, "GET", at, nil)
			proxy.ServeHTTP(httptest.NewRecorder(), request)
			return nil
		}
	}
	return netHTTP()
}

const collectTime = 2 * time.Millisecond

func loadAll(call caller) dataloader.BatchFunc[string, bool] {
	return func(_ context.Context, urls []string) []*dataloader.Result[bool] {
		results := make([]*dataloader.Result[bool], len(urls))
		for index, url := range urls {
			results[index] = &dataloader.Result[bool]{Data: true, Error: call(context.Background(), url)}
		}
		return results
	}
}

type batch struct {
	urls []string
	done chan struct{}
	over bool
	left sync.WaitGroup
}

type collector struct {
	call caller
	how  string
	lock sync.Mutex
	told *sync.Cond
	next *batch
}

func (c *collector) run() {
	time.Sleep(collectTime)
	c.lock.Lock()
	now := c.next
	c.next = nil
	c.lock.Unlock()
	for _, url := range now.urls {
		if err := c.call(context.Background(), url); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	if c.how == "collect" {
		close(now.done)
		return
	}
	if c.how == "count" {
		now.left.Done()
		return
	}
	c.lock.Lock()
	now.over = true
	c.lock.Unlock()
	c.told.Broadcast()
}

func (c *collector) load(url string) {
	c.lock.Lock()
	if c.next == nil {
		c.next = &batch{done: make(chan struct{})}
		c.next.left.Add(1)
		go c.run()
	}
	mine := c.next
	mine.urls = append(mine.urls, url)
	if c.how == "tell" {
		for !mine.over {
			c.told.Wait()
		}
		c.lock.Unlock()
		return
	}
	c.lock.Unlock()
	if c.how == "count" {
		mine.left.Wait()
		return
	}
	<-mine.done
}

type work func(ctx context.Context, urls []string) error

// Work in a list, that goroutines wait for by a condition; they are started as they are needed and end when there is none.
type list struct {
	lock    sync.Mutex
	cond    *sync.Cond
	jobs    []func()
	workers int
	idle    int
}

func (l *list) run(last bool) {
	l.lock.Lock()
	for {
		for len(l.jobs) == 0 {
			l.idle++
			l.cond.Wait()
			l.idle--
		}
		var job func()
		if last {
			job = l.jobs[len(l.jobs)-1]
			l.jobs = l.jobs[:len(l.jobs)-1]
		} else {
			job = l.jobs[0]
			l.jobs = l.jobs[1:]
		}
		l.lock.Unlock()
		job()
		l.lock.Lock()
	}
}

func (l *list) submit(job func(), last bool) {
	l.lock.Lock()
	l.jobs = append(l.jobs, job)
	if l.idle == 0 && l.workers < 8 {
		l.workers++
		go l.run(last)
	} else {
		l.cond.Signal()
	}
	l.lock.Unlock()
}

func newWork(mode string, call caller) work {
	each := func(ctx context.Context, urls []string) error {
		for _, url := range urls {
			if err := call(ctx, url); err != nil {
				return err
			}
		}
		return nil
	}
	// All of a request at once, each by `do`, and waits for them.
	byPool := func(do func(job func())) work {
		return func(ctx context.Context, urls []string) error {
			var group sync.WaitGroup
			for _, url := range urls {
				group.Add(1)
				do(func() {
					defer group.Done()
					if err := call(ctx, url); err != nil {
						fmt.Fprintln(os.Stderr, err)
					}
				})
			}
			group.Wait()
			return nil
		}
	}
	switch mode {
	case "errgroup", "limit":
		return func(ctx context.Context, urls []string) error {
			group, within := errgroup.WithContext(ctx)
			if mode == "limit" {
				group.SetLimit(1)
			}
			for _, url := range urls {
				group.Go(func() error { return call(within, url) })
			}
			return group.Wait()
		}
	case "single", "singlechan":
		var flights singleflight.Group
		return func(ctx context.Context, urls []string) error {
			for index, url := range urls {
				key := strconv.Itoa(index)
				do := func() (any, error) { return nil, call(context.Background(), url) }
				if mode == "single" {
					if _, err, _ := flights.Do(key, do); err != nil {
						return err
					}
				} else {
					<-flights.DoChan(key, do)
				}
			}
			return nil
		}
	case "late":
		return func(_ context.Context, urls []string) error {
			go func() {
				time.Sleep(10 * time.Millisecond)
				each(context.Background(), urls)
			}()
			return nil
		}
	case "timeout":
		return func(ctx context.Context, urls []string) error {
			for _, url := range urls {
				within, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
				call(within, url)
				cancel()
			}
			return nil
		}
	case "outlive":
		// The handler answers first, its goroutines go on.
		return func(_ context.Context, urls []string) error {
			done := make(chan error, len(urls))
			for _, url := range urls {
				go func() { done <- call(context.Background(), url) }()
			}
			select {
			case <-done:
			case <-time.After(4 * time.Millisecond):
			}
			return nil
		}
	case "loader":
		loader := dataloader.NewBatchedLoader(loadAll(call), dataloader.WithWait[string, bool](collectTime),
			dataloader.WithCache[string, bool](&dataloader.NoCache[string, bool]{}))
		return func(ctx context.Context, urls []string) error {
			for _, url := range urls {
				if _, err := loader.Load(ctx, url)(); err != nil {
					return err
				}
			}
			return nil
		}
	case "loaders":
		return func(ctx context.Context, urls []string) error {
			loader := dataloader.NewBatchedLoader(loadAll(call), dataloader.WithWait[string, bool](collectTime))
			_, errs := loader.LoadMany(ctx, urls)()
			return errors.Join(errs...)
		}
	case "collect", "tell", "count":
		all := &collector{call: call, how: mode}
		all.told = sync.NewCond(&all.lock)
		return func(_ context.Context, urls []string) error {
			for _, url := range urls {
				all.load(url)
			}
			return nil
		}
	case "ants", "antsblock":
		size := 200
		if mode == "antsblock" {
			size = 4
		}
		workers, err := ants.NewPool(size)
		if err != nil {
			panic(err)
		}
		return byPool(func(job func()) { workers.Submit(job) })
	case "pond":
		workers := pond.NewPool(4)
		return byPool(func(job func()) { workers.Submit(job) })
	case "list", "stack":
		jobs := &list{}
		jobs.cond = sync.NewCond(&jobs.lock)
		return byPool(func(job func()) { jobs.submit(job, mode == "stack") })
	case "pq", "pgx":
		driver := "postgres"
		if mode == "pgx" {
			driver = "pgx"
		}
		database, err := sql.Open(driver, os.Getenv("POSTGRES"))
		if err != nil {
			panic(err)
		}
		database.SetMaxOpenConns(4)
		return func(ctx context.Context, urls []string) error {
			for _, url := range urls {
				var one int
				if err := database.QueryRowContext(ctx, "select 1").Scan(&one); err != nil {
					return err
				}
				if err := call(ctx, url); err != nil {
					return err
				}
			}
			return nil
		}
	case "redis":
		client := redis.NewClient(&redis.Options{Addr: os.Getenv("REDIS"), PoolSize: 4})
		return func(ctx context.Context, urls []string) error {
			for _, url := range urls {
				if err := client.Incr(ctx, "calls").Err(); err != nil {
					return err
				}
				if err := call(ctx, url); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return each
}

func main() {
	var next []string
	if text := os.Getenv("NEXT"); text != "" {
		next = strings.Split(text, ",")
	}
	think, _ := strconv.Atoi(os.Getenv("THINK_MS"))
	do := newWork(os.Getenv("MODE"), newCaller(os.Getenv("CLIENT")))
	serve := func(ctx context.Context, path string) error {
		if think > 0 {
			time.Sleep(time.Duration(think*1000+int(crc32.ChecksumIEEE([]byte(path))%4000)) * time.Microsecond)
		}
		urls := make([]string, len(next))
		for index, base := range next {
			urls[index] = fmt.Sprintf("%s%s.%d", base, path, index+1)
		}
		err := do(ctx, urls)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		return err
	}
	address := "127.0.0.1:" + os.Getenv("PORT")
	var err error
	switch os.Getenv("SERVER") {
	case "gin":
		gin.SetMode(gin.ReleaseMode)
		router := gin.New()
		router.Use(gin.Recovery())
		router.GET("/*path", func(c *gin.Context) {
			serve(c.Request.Context(), c.Request.URL.Path)
			c.String(200, "ok")
		})
		err = router.Run(address)
	case "echo":
		router := echo.New()
		router.HideBanner = true
		router.GET("/*", func(c echo.Context) error {
			serve(c.Request().Context(), c.Request().URL.Path)
			return c.String(200, "ok")
		})
		err = router.Start(address)
	case "fiber":
		app := fiber.New(fiber.Config{DisableStartupMessage: true})
		app.Get("/*", func(c *fiber.Ctx) error {
			serve(c.Context(), strings.Clone(c.Path()))
			return c.SendString("ok")
		})
		err = app.Listen(address)
	case "fasthttp":
		err = fasthttp.ListenAndServe(address, func(ctx *fasthttp.RequestCtx) {
			serve(context.Background(), string(ctx.Path()))
			ctx.WriteString("ok")
		})
	default:
		router := chi.NewRouter()
		router.Get("/*", func(w http.ResponseWriter, r *http.Request) {
			serve(r.Context(), r.URL.Path)
			io.WriteString(w, "ok")
		})
		err = http.ListenAndServe(address, router)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
