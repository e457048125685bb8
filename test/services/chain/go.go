// A link of a chain, see node.mjs: net/http on both sides, its default pool of connections. MODE: parallel starts a goroutine
// a call; workers gives calls to goroutines that requests start as they are needed and that then serve whoever comes; lazy
// gives them to four that the first request starts. TICK_MS: calls of no request.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

func call(client *http.Client, url string) {
	response, err := client.Get(url)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	io.Copy(io.Discard, response.Body)
	response.Body.Close()
}

type job struct {
	url  string
	done *sync.WaitGroup
}

// Workers come into being when nobody takes a job at once, and end when there is nothing more to do.
type pool struct {
	jobs    chan job
	most    int
	lock    sync.Mutex
	workers int
}

func (p *pool) run(client *http.Client, isLasting bool) {
	for {
		select {
		case next := <-p.jobs:
			call(client, next.url)
			next.done.Done()
			continue
		default:
		}
		if isLasting {
			next := <-p.jobs
			call(client, next.url)
			next.done.Done()
			continue
		}
		p.lock.Lock()
		p.workers--
		p.lock.Unlock()
		return
	}
}

func (p *pool) submit(client *http.Client, next job, isLasting bool) {
	p.jobs <- next
	p.lock.Lock()
	start := p.workers < p.most
	if start {
		p.workers++
	}
	p.lock.Unlock()
	if start {
		go p.run(client, isLasting)
	}
}

func main() {
	var next []string
	if text := os.Getenv("NEXT"); text != "" {
		next = strings.Split(text, ",")
	}
	think, _ := strconv.Atoi(os.Getenv("THINK_MS"))
	idle, _ := strconv.Atoi(os.Getenv("SOCKETS"))
	if idle == 0 {
		idle = 100
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: idle}}
	workers := &pool{jobs: make(chan job, 1024), most: 4}
	if tick, _ := strconv.Atoi(os.Getenv("TICK_MS")); tick > 0 {
		go func() {
			for {
				time.Sleep(time.Duration(tick) * time.Millisecond)
				call(client, next[0]+"/c/tick")
			}
		}()
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Duration(think) * time.Millisecond)
		mode := os.Getenv("MODE")
		if mode == "workers" || mode == "lazy" {
			for index, base := range next {
				var group sync.WaitGroup
				group.Add(1)
				workers.submit(client, job{fmt.Sprintf("%s%s.%d", base, r.URL.Path, index+1), &group}, mode == "lazy")
				group.Wait()
			}
		} else if mode == "parallel" {
			var group sync.WaitGroup
			for index, base := range next {
				group.Add(1)
				go func(url string) {
					defer group.Done()
					call(client, url)
				}(fmt.Sprintf("%s%s.%d", base, r.URL.Path, index+1))
			}
			group.Wait()
		} else {
			for index, base := range next {
				call(client, fmt.Sprintf("%s%s.%d", base, r.URL.Path, index+1))
			}
		}
		io.WriteString(w, "ok")
	})
	if err := http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
