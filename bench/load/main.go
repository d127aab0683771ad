// Command load measures an HTTPS server, or is one to measure against or to compare with.
//
//	load fire -url U -ca F -name N -header-file F -body-file F -connections 8 -seconds 5
//	load stub -certificate F -key F -body-file F
//	load authorizer -socket S -server https://127.0.0.1:P -ca F -name N -token-file F -audience A
//	load reviews -certificate F -key F
//
// fire keeps every connection busy with one request after another and prints one JSON object:
// requests, errors, seconds, and latencies in microseconds by percentile. With -tokens each request
// has the next line of that file wherever its header or body says {token}; with -once it ends
// when each had its turn. stub answers every request with 201 and the same body; it prints its port.
// authorizer is an ext_authz service at a Unix socket, reviews an API server for TokenReviews, which
// prints its port.
package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

var commands = map[string]func([]string){
	"fire": fire, "stub": stub, "authorizer": authorizer, "reviews": reviews,
}

func main() {
	log.SetFlags(0)
	if len(os.Args) > 1 {
		if run, known := commands[os.Args[1]]; known {
			run(os.Args[2:])
			return
		}
	}
	log.Fatal("usage: load fire|stub|authorizer|reviews [flags]")
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func read(path string) []byte {
	return must(os.ReadFile(path))
}

// trusted is what the authorities in a PEM file have signed.
func trusted(path string) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(read(path))
	return pool
}

type result struct {
	latencies []int64
	errors    int
	status    int
}

func fire(arguments []string) {
	flags := flag.NewFlagSet("fire", flag.ExitOnError)
	target := flags.String("url", "", "where to send to")
	authority := flags.String("ca", "", "PEM file of the authority to trust")
	name := flags.String("name", "", "name to ask for (SNI and Host); the URL's if empty")
	headerFiles := flags.String("header-file", "", "file with a header a line")
	bodyFile := flags.String("body-file", "", "file with the body")
	method := flags.String("method", "POST", "method")
	connections := flags.Int("connections", 8, "connections, each with one request at a time")
	seconds := flags.Float64("seconds", 5, "how long")
	expected := flags.Int("status", 201, "status that counts as a good answer")
	tokenFile := flags.String("tokens", "", "file with a token a line")
	once := flags.Bool("once", false, "send each token once, however long that takes")
	numbers := flags.Int("numbers", 1, "so many numbers stand for {number} in the URL, in turn")
	_ = flags.Parse(arguments)

	body := []byte{}
	if *bodyFile != "" {
		body = read(*bodyFile)
	}
	address := must(url.Parse(*target))
	if *name == "" {
		*name = address.Hostname()
	}
	head := []byte(fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\n", *method, address.RequestURI(), *name))
	if *headerFiles != "" {
		for line := range strings.Lines(string(read(*headerFiles))) {
			head = append(head, strings.TrimRight(line, "\r\n")+"\r\n"...)
		}
	}
	source := &requests{
		head: head, body: body, hasBody: *method == "POST", once: *once, numbers: *numbers,
	}
	if *tokenFile != "" {
		source.tokens = bytes.Fields(read(*tokenFile))
	}
	config := &tls.Config{RootCAs: trusted(*authority), ServerName: *name, NextProtos: []string{"http/1.1"}}

	results := make([]result, *connections)
	started := time.Now()
	deadline := started.Add(time.Duration(*seconds * float64(time.Second)))
	var group sync.WaitGroup
	for index := range results {
		group.Go(func() { drive(address.Host, config, source, deadline, *expected, &results[index]) })
	}
	group.Wait()
	report(results, time.Since(started))
}

// requests gives out what to send: always the same, or with one token after another.
type requests struct {
	head, body    []byte
	hasBody, once bool
	tokens        [][]byte
	numbers       int
	count         atomic.Int64
	same          []byte
	made          sync.Once
}

func (r *requests) next() []byte {
	if len(r.tokens) == 0 {
		r.made.Do(func() { r.same = r.with(nil, 0) })
		return r.same
	}
	index := int(r.count.Add(1)) - 1
	if r.once && index >= len(r.tokens) {
		return nil
	}
	index %= len(r.tokens)
	return r.with(r.tokens[index], index%r.numbers)
}

func (r *requests) with(token []byte, number int) []byte {
	head, body := r.head, r.body
	if token != nil {
		head = bytes.ReplaceAll(head, []byte("%7Bnumber%7D"), []byte(strconv.Itoa(number)))
		head = bytes.ReplaceAll(head, []byte("{token}"), token)
		body = bytes.ReplaceAll(body, []byte("{token}"), token)
	}
	request := append([]byte{}, head...)
	if r.hasBody {
		request = append(request, fmt.Sprintf("Content-Length: %d\r\n", len(body))...)
	}
	return append(append(request, "\r\n"...), body...)
}

func drive(address string, config *tls.Config, source *requests, deadline time.Time, expected int, into *result) {
	connection, err := tls.Dial("tcp", address, config)
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	reader := bufio.NewReaderSize(connection, 64*1024)
	for source.once || time.Now().Before(deadline) {
		request := source.next()
		if request == nil {
			return
		}
		started := time.Now()
		if _, err := connection.Write(request); err != nil {
			log.Fatal(err)
		}
		answer, err := http.ReadResponse(reader, nil)
		if err != nil {
			log.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, answer.Body); err != nil {
			log.Fatal(err)
		}
		answer.Body.Close()
		into.latencies = append(into.latencies, time.Since(started).Microseconds())
		if answer.StatusCode != expected {
			into.errors++
			into.status = answer.StatusCode
		}
	}
}

func report(results []result, elapsed time.Duration) {
	all, failed, status := []int64{}, 0, 0
	for _, one := range results {
		all = append(all, one.latencies...)
		failed += one.errors
		status = max(status, one.status)
	}
	slices.Sort(all)
	at := func(share float64) int64 {
		if len(all) == 0 {
			return 0
		}
		return all[min(int(share*float64(len(all))), len(all)-1)]
	}
	_ = json.NewEncoder(os.Stdout).Encode(map[string]any{
		"requests": len(all), "errors": failed, "error_status": status,
		"seconds": elapsed.Seconds(), "per_second": float64(len(all)) / elapsed.Seconds(),
		"p50_us": at(0.50), "p90_us": at(0.90), "p99_us": at(0.99),
	})
}

func stub(arguments []string) {
	flags := flag.NewFlagSet("stub", flag.ExitOnError)
	certificate := flags.String("certificate", "", "PEM file")
	key := flags.String("key", "", "PEM file")
	bodyFile := flags.String("body-file", "", "file with the answer's body")
	_ = flags.Parse(arguments)
	body := read(*bodyFile)
	pair := must(tls.LoadX509KeyPair(*certificate, *key))
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	answer := []byte(fmt.Sprintf(
		"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
	config := &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}}
	for {
		plain, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go serve(tls.Server(plain, config), answer)
	}
}

// serve reads just enough of HTTP/1.1 to find where a request ends.
func serve(connection net.Conn, answer []byte) {
	defer connection.Close()
	reader := bufio.NewReaderSize(connection, 64*1024)
	for {
		length := 0
		for {
			line, err := reader.ReadSlice('\n')
			if err != nil {
				return
			}
			if len(bytes.TrimSpace(line)) == 0 {
				break
			}
			if name, value, found := bytes.Cut(line, []byte(":")); found && bytes.EqualFold(name, []byte("content-length")) {
				fmt.Sscan(string(value), &length)
			}
		}
		if _, err := reader.Discard(length); err != nil {
			return
		}
		if _, err := connection.Write(answer); err != nil {
			return
		}
	}
}
