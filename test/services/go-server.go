// A net/http server that logs each request itself: method, path, status, start (Unix microseconds) and duration
// (microseconds) after the response was flushed. With TLS_KEY and TLS_CERTIFICATE (files) it speaks TLS.
// Usage: go-server <port> <log>
// Paths: /bytes/SIZE/N, /chunked/SIZE/N, /status/CODE/N, /upload/N, /sleep/MS/N.
package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

var filler = bytes.Repeat([]byte{'x'}, 64*1024)

func send(w io.Writer, size int) {
	for size > 0 {
		part := len(filler)
		if size < part {
			part = size
		}
		w.Write(filler[:part])
		size -= part
	}
}

func answer(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(r.URL.Path, "/")
	if len(parts) < 3 {
		http.NotFound(w, r)
		return
	}
	value, _ := strconv.Atoi(parts[2])
	switch parts[1] {
	case "bytes":
		w.Header().Set("Content-Length", parts[2])
		w.WriteHeader(200)
		if r.Method != "HEAD" {
			send(w, value)
		}
	case "chunked":
		w.WriteHeader(200)
		w.(*recorder).ResponseWriter.(http.Flusher).Flush()
		send(w, value)
	case "status":
		if value != 204 && value != 304 {
			w.Header().Set("Content-Length", "4")
		}
		w.WriteHeader(value)
		if value != 204 && value != 304 && r.Method != "HEAD" {
			io.WriteString(w, parts[2]+"\n")
		}
	case "sleep":
		time.Sleep(time.Duration(value) * time.Millisecond)
		w.Header().Set("Content-Length", "6")
		w.WriteHeader(200)
		io.WriteString(w, "slept\n")
	case "upload":
		received, _ := io.Copy(io.Discard, r.Body)
		text := strconv.FormatInt(received, 10)
		w.Header().Set("Content-Length", strconv.Itoa(len(text)))
		w.WriteHeader(200)
		if r.Method != "HEAD" {
			io.WriteString(w, text)
		}
	default:
		http.NotFound(w, r)
	}
}

func main() {
	logFile, err := os.Create(os.Args[2])
	if err != nil {
		panic(err)
	}
	var mutex sync.Mutex
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		rec := &recorder{ResponseWriter: w, status: 200}
		answer(rec, r)
		w.(http.Flusher).Flush()
		line := fmt.Sprintf("%s %s %d %d %d\n", r.Method, r.URL.Path, rec.status, start.UnixNano()/1000,
			time.Since(start).Nanoseconds()/1000)
		mutex.Lock()
		logFile.WriteString(line)
		mutex.Unlock()
	})
	if key := os.Getenv("TLS_KEY"); key != "" {
		err = http.ListenAndServeTLS("127.0.0.1:"+os.Args[1], os.Getenv("TLS_CERTIFICATE"), key, handler)
	} else {
		err = http.ListenAndServe("127.0.0.1:"+os.Args[1], handler)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
