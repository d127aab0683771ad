package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

const path = "/apis/authentication.k8s.io/v1/tokenreviews"

type user struct {
	Username string   `json:"username"`
	Groups   []string `json:"groups,omitempty"`
}

type review struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Spec       struct {
		Token     string   `json:"token,omitempty"`
		Audiences []string `json:"audiences,omitempty"`
	} `json:"spec"`
	Status struct {
		Authenticated bool     `json:"authenticated"`
		Audiences     []string `json:"audiences,omitempty"`
		User          user     `json:"user"`
	} `json:"status"`
}

type known struct {
	user, groups string
	until        time.Time
}

// authorizer answers Envoy's ext_authz over HTTP: by a map of the tokens that it has seen, and by a
// TokenReview for each that it has not.
func authorizer(arguments []string) {
	flags := flag.NewFlagSet("authorizer", flag.ExitOnError)
	socket := flags.String("socket", "", "Unix socket to listen at")
	server := flags.String("server", "", "URL of the API server")
	authority := flags.String("ca", "", "PEM file of the authority to trust")
	name := flags.String("name", "", "what the API server's certificate names")
	tokenFile := flags.String("token-file", "", "token to ask with")
	audience := flags.String("audience", "", "audience that tokens are to be for")
	_ = flags.Parse(arguments)

	bearer := "Bearer " + strings.TrimSpace(string(read(*tokenFile)))
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: trusted(*authority), ServerName: *name},
		MaxIdleConnsPerHost: 64, MaxConnsPerHost: 64,
	}}
	var lock sync.RWMutex
	seen := map[[32]byte]known{}
	handler := func(writer http.ResponseWriter, request *http.Request) {
		values := request.Header["Authorization"]
		if len(values) != 1 || !strings.HasPrefix(values[0], "Bearer ") {
			writer.WriteHeader(http.StatusUnauthorized)
			return
		}
		key := sha256.Sum256([]byte(values[0]))
		lock.RLock()
		found, ok := seen[key]
		lock.RUnlock()
		if !ok || !time.Now().Before(found.until) {
			status, err := ask(client, *server, bearer, values[0][len("Bearer "):], *audience)
			if err != nil {
				writer.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			if !status.Authenticated || len(status.Audiences) != 1 || status.Audiences[0] != *audience {
				writer.WriteHeader(http.StatusUnauthorized)
				return
			}
			groups := strings.Join(status.User.Groups, ",")
			found = known{status.User.Username, groups, time.Now().Add(10 * time.Minute)}
			lock.Lock()
			seen[key] = found
			lock.Unlock()
		}
		writer.Header().Set("kubeflow-userid", found.user)
		writer.Header().Set("kubeflow-groups", found.groups)
	}
	listener := must(net.Listen("unix", *socket))
	fmt.Println("listening")
	log.Fatal(http.Serve(listener, http.HandlerFunc(handler)))
}

type status struct {
	Authenticated bool
	Audiences     []string
	User          user
}

func ask(client *http.Client, server, bearer, token, audience string) (*status, error) {
	question := review{APIVersion: "authentication.k8s.io/v1", Kind: "TokenReview"}
	question.Spec.Token, question.Spec.Audiences = token, []string{audience}
	body, err := json.Marshal(question)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequest(http.MethodPost, server+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", bearer)
	request.Header.Set("Content-Type", "application/json")
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusCreated {
		return nil, fmt.Errorf("%s", answer.Status)
	}
	var said review
	if err := json.NewDecoder(answer.Body).Decode(&said); err != nil {
		return nil, err
	}
	return &status{said.Status.Authenticated, said.Status.Audiences, said.Status.User}, nil
}

// kinds is what an API server says of the kinds of KServe: its answers, by path.
func kinds(models int) map[string]any {
	type object = map[string]any
	version := "serving.kserve.io/v1beta1"
	items := []object{}
	for number := range models {
		name := fmt.Sprintf("model-%d", number)
		items = append(items, object{"metadata": object{"uid": name, "namespace": "models", "name": name}})
	}
	kind := object{"name": "inferenceservices", "kind": "InferenceService", "namespaced": true}
	return map[string]any{
		"/apis/serving.kserve.io":                 object{"versions": []object{{"groupVersion": version}}},
		"/apis/" + version:                        object{"resources": []object{kind}},
		"/apis/" + version + "/inferenceservices": object{"metadata": object{"resourceVersion": "1"}, "items": items},
	}
}

// reviews is an API server that takes every token, believes its claims, and allows everything.
func reviews(arguments []string) {
	flags := flag.NewFlagSet("reviews", flag.ExitOnError)
	certificate := flags.String("certificate", "", "PEM file")
	key := flags.String("key", "", "PEM file")
	models := flags.Int("models", 0, "so many models exist")
	_ = flags.Parse(arguments)
	known := kinds(*models)
	handler := func(writer http.ResponseWriter, request *http.Request) {
		writer.Header().Set("Content-Type", "application/json")
		if request.Method == http.MethodGet {
			if request.URL.Query().Has("watch") { // nothing changes
				writer.(http.Flusher).Flush()
				<-request.Context().Done()
			} else if answer, found := known[request.URL.Path]; found {
				_ = json.NewEncoder(writer).Encode(answer)
			} else {
				writer.WriteHeader(http.StatusNotFound)
			}
			return
		}
		if strings.HasSuffix(request.URL.Path, "/subjectaccessreviews") {
			_, _ = io.Copy(io.Discard, request.Body)
			writer.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(writer, `{"status":{"allowed":true}}`)
			return
		}
		var question review
		if err := json.NewDecoder(request.Body).Decode(&question); err != nil {
			writer.WriteHeader(http.StatusBadRequest)
			return
		}
		parts := strings.Split(question.Spec.Token, ".")
		claims := struct{ Sub string }{}
		if len(parts) == 3 {
			text, _ := base64.RawURLEncoding.DecodeString(parts[1])
			_ = json.Unmarshal(text, &claims)
		}
		question.Status.Authenticated = claims.Sub != ""
		question.Status.Audiences = question.Spec.Audiences
		question.Status.User = user{claims.Sub, []string{"system:serviceaccounts", "system:authenticated"}}
		question.Spec.Token = ""
		writer.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(writer).Encode(question)
	}
	pair := must(tls.LoadX509KeyPair(*certificate, *key))
	listener := must(tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"},
	}))
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	log.Fatal(http.Serve(listener, http.HandlerFunc(handler)))
}
