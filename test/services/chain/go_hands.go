// A link of a chain, see node.mjs, that has its calls made by goroutines that are older than the requests. MODE says how work
// comes to them and how they answer. Those that are clean: reply (a channel for each answer), buffered, select (with a
// timeout and a context), group (a WaitGroup), close (a channel that is closed), funcs (functions), spawn (a goroutine for
// each item), stages (one hands it on to the next), conns (with connections out of a pool that is a channel), shared (with
// items of no request between). Those that tempt to join wrongly: batch (several items, then the calls), single (several
// items, one call for all), ahead (the next item before the answer), stack (a dispatcher that keeps items and gives the latest
// first), bell (items in a list, a channel that only wakes), tokens (goroutines of no request that share a pool with
// requests), late (the call after the answer), mutex (a channel as a lock), async (answers in another order than items), again
// (the same, with an item alone between), notes (nobody waits, one call for each five).
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}

func call(url string) error {
	response, err := client.Get(url)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return err
	}
	io.Copy(io.Discard, response.Body)
	return response.Body.Close()
}

type job struct {
	url    string
	answer chan error
	group  *sync.WaitGroup
}

func newJob(url string) *job {
	return &job{url: url, answer: make(chan error)}
}

type connection struct{ number int }

var (
	jobs     = make(chan *job, 256)
	direct   = make(chan job)
	funcs    = make(chan func())
	second   = make(chan *job, 16)
	bell     = make(chan int, 1)
	pool     = make(chan *connection, 2)
	lock     = make(chan bool, 1)
	list     []*job
	listLock sync.Mutex
)

// What comes within a moment, at most `most`.
func collect(most int) []*job {
	batch := []*job{<-jobs}
	timeout := time.After(2 * time.Millisecond)
	for len(batch) < most {
		select {
		case next := <-jobs:
			batch = append(batch, next)
		case <-timeout:
			return batch
		}
	}
	return batch
}

func work(mode string, tickURL string) {
	var held *job
	for {
		switch mode {
		case "reply", "shared", "close", "mutex":
			next := <-jobs
			if mode == "mutex" {
				lock <- true
			}
			err := call(next.url)
			if mode == "mutex" {
				<-lock
			}
			if mode == "close" {
				close(next.answer)
			} else if next.answer != nil {
				next.answer <- err
			}
		case "buffered", "select":
			select {
			case next := <-direct:
				next.answer <- call(next.url)
			case <-time.After(time.Second):
			}
		case "group":
			next := <-jobs
			call(next.url)
			next.group.Done()
		case "funcs":
			(<-funcs)()
		case "spawn":
			next := <-jobs
			go func() { next.answer <- call(next.url) }()
		case "stages":
			second <- (<-jobs)
		case "conns", "tokens":
			next := <-jobs
			one := <-pool
			err := call(next.url)
			pool <- one
			next.answer <- err
		case "batch":
			batch := collect(4)
			for index := len(batch) - 1; index >= 0; index-- {
				call(batch[index].url)
			}
			for index := len(batch) - 1; index >= 0; index-- {
				batch[index].answer <- nil
			}
		case "single":
			batch := collect(4)
			call(batch[0].url)
			for _, one := range batch[1:] {
				one.answer <- call(one.url)
			}
			batch[0].answer <- nil
		case "ahead":
			if held == nil {
				held = <-jobs
			}
			var next *job
			select {
			case next = <-jobs:
			default:
			}
			held.answer <- call(held.url)
			held = next
		case "bell":
			<-bell
			for {
				listLock.Lock()
				if len(list) == 0 {
					listLock.Unlock()
					break
				}
				next := list[len(list)-1]
				list = list[:len(list)-1]
				listLock.Unlock()
				next.answer <- call(next.url)
			}
		case "late":
			next := <-jobs
			next.answer <- nil
			call(next.url)
		}
	}
}

// Takes two items, makes their calls at once in the order of their coming, answers in the other one. `isAgain`: before each
// two an item alone, whose request's next item is often the first of the two.
func async(isAgain bool) {
	for {
		one := <-jobs
		if isAgain {
			one.answer <- call(one.url)
			time.Sleep(time.Millisecond)
			one = <-jobs
		}
		var other *job
		select {
		case other = <-jobs:
		case <-time.After(time.Millisecond):
		}
		err := call(one.url)
		if other != nil {
			other.answer <- call(other.url)
		}
		one.answer <- err
	}
}

// Keeps what comes while its worker is busy, and gives it the latest first.
func dispatch() {
	free := make(chan bool, 8)
	given := make(chan *job)
	for index := 0; index < 2; index++ {
		go func() {
			for next := range given {
				next.answer <- call(next.url)
				free <- true
			}
		}()
		free <- true
	}
	var kept []*job
	count := 0
	for {
		select {
		case next := <-jobs:
			kept = append(kept, next)
		case <-free:
			count++
		}
		for count > 0 && len(kept) > 0 {
			given <- kept[len(kept)-1]
			kept = kept[:len(kept)-1]
			count--
		}
	}
}

// Events that nobody waits for: a call for each five of them.
func notes(tickURL string) {
	count := 0
	for range second {
		if count++; count%5 == 0 {
			call(tickURL)
		}
	}
}

func hand(mode string, ctx context.Context, url string) {
	switch mode {
	case "buffered":
		next := job{url: url, answer: make(chan error, 1)}
		direct <- next
		<-next.answer
	case "select":
		next := job{url: url, answer: make(chan error, 1)}
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		select {
		case direct <- next:
		case <-ctx.Done():
			return
		}
		select {
		case <-next.answer:
		case <-ctx.Done():
		}
	case "group":
		var group sync.WaitGroup
		group.Add(1)
		jobs <- &job{url: url, group: &group}
		group.Wait()
	case "funcs":
		done := make(chan struct{})
		funcs <- func() {
			call(url)
			close(done)
		}
		<-done
	case "bell":
		next := newJob(url)
		listLock.Lock()
		list = append(list, next)
		listLock.Unlock()
		select {
		case bell <- 1:
		default:
		}
		<-next.answer
	case "tokens":
		one := <-pool
		call(url)
		pool <- one
	case "notes":
		second <- newJob(url)
		call(url)
	default:
		next := newJob(url)
		jobs <- next
		<-next.answer
	}
}

func main() {
	var next []string
	if text := os.Getenv("NEXT"); text != "" {
		next = strings.Split(text, ",")
	}
	mode := os.Getenv("MODE")
	workers, _ := strconv.Atoi(os.Getenv("WORKERS"))
	if workers == 0 {
		workers = 4
	}
	pool <- &connection{1}
	pool <- &connection{2}
	tick := next[0] + "/c/tick"
	for index := 0; index < workers; index++ {
		switch mode {
		case "async", "again":
			go async(mode == "again")
		case "stack", "notes", "tokens":
		default:
			go work(mode, tick)
		}
	}
	switch mode {
	case "stack":
		go dispatch()
	case "notes":
		go notes(tick)
	case "stages":
		for index := 0; index < workers; index++ {
			go func() {
				for next := range second {
					next.answer <- call(next.url)
				}
			}()
		}
	case "shared":
		go func() {
			for {
				time.Sleep(2 * time.Millisecond)
				jobs <- &job{url: tick}
			}
		}()
	case "tokens":
		for index := 0; index < workers; index++ {
			go func() {
				for {
					one := <-pool
					call(tick)
					pool <- one
					time.Sleep(2 * time.Millisecond)
				}
			}()
		}
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		for index, base := range next {
			hand(mode, r.Context(), fmt.Sprintf("%s%s.%d", base, r.URL.Path, index+1))
		}
		io.WriteString(w, "ok")
	})
	if err := http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
