// A link of a chain, see node.mjs: net/http on both sides, its default pool of connections.
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
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Duration(think) * time.Millisecond)
		if os.Getenv("MODE") == "parallel" {
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
