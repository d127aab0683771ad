// POST a body NUMBER times; one line each: the answer's code, or the error.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

func main() {
	url, authority, token, version := os.Args[1], os.Args[2], os.Args[3], os.Args[6]
	size, _ := strconv.Atoi(os.Args[4])
	times, _ := strconv.Atoi(os.Args[5])
	pem, err := os.ReadFile(authority)
	if err != nil {
		panic(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	dialer := &net.Dialer{}
	client := &http.Client{Timeout: 60 * time.Second, Transport: &http.Transport{
		ForceAttemptHTTP2: version == "HTTP_2",
		TLSClientConfig:   &tls.Config{RootCAs: roots},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			_, port, _ := net.SplitHostPort(address)
			return dialer.DialContext(ctx, network, "127.0.0.1:"+port)
		},
	}}
	body := make([]byte, size)
	for i := 0; i < times; i++ {
		var reader io.Reader = bytes.NewReader(body)
		if os.Args[7] == "unknown" {
			reader = io.MultiReader(reader)
		}
		request, _ := http.NewRequest("POST", url, reader)
		request.Header.Set("Authorization", "Bearer "+token)
		request.Header.Set("Content-Type", "application/json")
		answer, err := client.Do(request)
		if err != nil {
			fmt.Println(strings.Split(err.Error(), "\n")[0])
			continue
		}
		text, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		read := 0
		if strings.Contains(string(text), `"kind":"Status"`) {
			read = 1
		}
		fmt.Println(answer.StatusCode, answer.Header.Get("daypass-reason"), read)
	}
}
