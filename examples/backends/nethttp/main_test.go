// Tests the backend against a running sandbox; SANDBOX_URL is its control port.
package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

func sandbox() string {
	if url := os.Getenv("SANDBOX_URL"); url != "" {
		return url
	}
	return "http://127.0.0.1:9229/sandbox"
}

// control calls the control port, and reads its answer into out.
func control(t *testing.T, method, path, body string, out any) {
	t.Helper()
	request, err := http.NewRequest(method, sandbox()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatal(method, path, answer.Status)
	}
	if err := json.NewDecoder(answer.Body).Decode(out); err != nil {
		t.Fatal(err)
	}
}

func start(t *testing.T) http.Handler {
	t.Helper()
	var document struct{ Replicas []struct{ GRPC string } }
	control(t, "GET", "", "", &document)
	control(t, "POST", "/reset", "", &struct{}{})
	target := os.Getenv("LOOKUP_TARGET")
	if target == "" {
		target = document.Replicas[0].GRPC
	}
	handler, err := backend(target)
	if err != nil {
		t.Fatal(err)
	}
	return handler
}

// call calls the backend with a new token of a user; request is the body for the control port.
func call(t *testing.T, handler http.Handler, request string) (*httptest.ResponseRecorder, map[string]string) {
	t.Helper()
	incoming := httptest.NewRequest("GET", "/me", nil)
	if request != "" {
		var minted struct {
			Token string `json:"access_token"`
		}
		control(t, "POST", "/token", request, &minted)
		incoming.Header.Set("Authorization", "Bearer "+minted.Token)
	}
	answer, body := httptest.NewRecorder(), map[string]string{}
	handler.ServeHTTP(answer, incoming)
	if err := json.NewDecoder(answer.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	return answer, body
}

func TestTheUserIsReturned(t *testing.T) {
	_, body := call(t, start(t), `{"user": "ada"}`)
	if body["name"] != "Ada Lovelace" || body["email"] != "ada@example.com" {
		t.Fatal(body)
	}
}

func TestARefusedTokenHasItsStatus(t *testing.T) {
	handler := start(t)
	for _, row := range []struct {
		request string
		status  int
		reason  string
	}{
		{"", 401, "TOKEN_MISSING"},
		{`{"user": "ada", "expired": true}`, 401, "TOKEN_EXPIRED"},
		{`{"user": "ada", "forged": true}`, 401, "TOKEN_INVALID"},
		{`{"user": "ada", "id": true}`, 400, "ID_TOKEN_REFUSED"},
		{`{"user": "bob"}`, 403, "USER_DISABLED"},
	} {
		answer, body := call(t, handler, row.request)
		if answer.Code != row.status || body["error"] != row.reason {
			t.Error(row, answer.Code, body)
		}
	}
}

func TestAThrottledCognitoIsA503WithADelay(t *testing.T) {
	handler := start(t)
	control(t, "PUT", "/fault/throttle", "", &map[string]string{})
	answer, body := call(t, handler, `{"user": "ada"}`)
	if answer.Code != 503 || body["error"] != "UPSTREAM_THROTTLED" || answer.Header().Get("Retry-After") == "" {
		t.Fatal(answer.Code, body, answer.Header())
	}
}
