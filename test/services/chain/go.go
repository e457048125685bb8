// A link of a chain, see node.mjs: net/http on both sides, its default pool of connections. MODE: parallel starts a goroutine
// a call; workers gives calls to goroutines that requests start as they are needed and that then serve whoever comes; lazy
// gives them to four that the first request starts. TICK_MS: calls of no request. SPREAD_MS: it thinks up to so much longer, by the path, so that
// answers overtake each other. TLS: it serves by TLS; CALL_TLS: it calls so.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"hash/crc32"
	"io"
	"math/big"
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

// A certificate that nobody checks.
func certificate() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
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
	spread, _ := strconv.Atoi(os.Getenv("SPREAD_MS"))
	idle, _ := strconv.Atoi(os.Getenv("SOCKETS"))
	if idle == 0 {
		idle = 100
	}
	if os.Getenv("CALL_TLS") != "" {
		for index, base := range next {
			next[index] = strings.Replace(base, "http:", "https:", 1)
		}
	}
	client := &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: idle,
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: true},
	}}
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
		if spread > 0 {
			time.Sleep(time.Duration(crc32.ChecksumIEEE([]byte(r.URL.Path))%uint32(spread*1000)) * time.Microsecond)
		}
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
	server := &http.Server{Addr: "127.0.0.1:" + os.Getenv("PORT")}
	serve := server.ListenAndServe
	if os.Getenv("TLS") != "" {
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate()}, NextProtos: []string{"http/1.1"}}
		serve = func() error { return server.ListenAndServeTLS("", "") }
	}
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
