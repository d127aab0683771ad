// Go at a gate: daypass run --file -- go run . https://kubeflow.example.com/pipeline
//
// SSL_CERT_FILE names the gate's certificate authority, if the machine does not trust it already.
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"

	"golang.org/x/oauth2"
)

type tokenFile string

// Token returns what daypass keeps fresh in the file.
func (file tokenFile) Token() (*oauth2.Token, error) {
	token, err := os.ReadFile(string(file))
	return &oauth2.Token{AccessToken: string(token)}, err
}

var client = &http.Client{
	Transport: &oauth2.Transport{Source: tokenFile(os.Getenv("DAYPASS_ACCESS_TOKEN_FILE"))},
	// Transport would send the token wherever a redirect leads.
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func main() {
	for _, url := range os.Args[1:] {
		answer, err := client.Get(url)
		if err != nil {
			log.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(answer.StatusCode, string(text)) // of a refusal, too: it says why
	}
}
