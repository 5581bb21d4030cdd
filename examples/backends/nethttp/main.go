// GET /me: the user of the request's access token. Run it with go run .; ../README.md says how.
package main

import (
	"encoding/json"
	"log"
	"net/http"
	"os"
	"strconv"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/health" // For healthCheckConfig; without it that setting does nothing.
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	userlookup "cognito-lookup/gen/userlookup/v1"
)

// httpStatus has the HTTP status by reason, and by gRPC code for a status without a known reason.
var httpStatus struct{ Reasons, Codes map[string]int }

// codeNames has those of the codes in httpStatus: grpc-go prints them in another spelling.
var codeNames = map[codes.Code]string{
	codes.Unauthenticated: "UNAUTHENTICATED", codes.DeadlineExceeded: "DEADLINE_EXCEEDED",
	codes.ResourceExhausted: "RESOURCE_EXHAUSTED", codes.Unavailable: "UNAVAILABLE",
}

func me(users userlookup.UserServiceClient) http.HandlerFunc {
	return func(answer http.ResponseWriter, request *http.Request) {
		if request.Header.Get("Authorization") == "" {
			problem(answer, 401, "TOKEN_MISSING", 0)
			return
		}
		ctx := request.Context()
		for _, name := range []string{"authorization", "x-request-id", "traceparent"} {
			if value := request.Header.Get(name); value != "" {
				ctx = metadata.AppendToOutgoingContext(ctx, name, value)
			}
		}
		reply, err := users.GetUser(ctx, &userlookup.GetUserRequest{Attributes: []string{"name", "email"}})
		if err != nil {
			code, reason, delay := explain(status.Convert(err))
			problem(answer, code, reason, delay)
			return
		}
		answer.Header().Set("Content-Type", "application/json")
		json.NewEncoder(answer).Encode(reply.GetUser().GetAttributes())
	}
}

// explain returns the HTTP status, the reason and the delay before a retry.
func explain(failed *status.Status) (code int, reason string, delay time.Duration) {
	for _, detail := range failed.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			if detail.GetDomain() == "userlookup.v1" {
				reason = detail.GetReason()
			}
		case *errdetails.RetryInfo:
			delay = detail.GetRetryDelay().AsDuration()
		}
	}
	if code = httpStatus.Reasons[reason]; code == 0 {
		code = httpStatus.Codes[codeNames[failed.Code()]]
	}
	if code == 0 {
		code = http.StatusInternalServerError
	}
	return code, reason, delay
}

func problem(answer http.ResponseWriter, code int, reason string, delay time.Duration) {
	answer.Header().Set("Content-Type", "application/json")
	if code == http.StatusUnauthorized {
		answer.Header().Set("WWW-Authenticate", "Bearer")
	}
	if delay > 0 {
		seconds := (delay + time.Second - 1) / time.Second
		answer.Header().Set("Retry-After", strconv.Itoa(int(seconds)))
	}
	answer.WriteHeader(code)
	json.NewEncoder(answer).Encode(map[string]string{"error": reason})
}

// backend returns the handler of all paths, which looks users up at target.
func backend(target string) (http.Handler, error) {
	statuses, err := os.ReadFile("../../http_status.json")
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(statuses, &httpStatus); err != nil {
		return nil, err
	}
	config, err := os.ReadFile("../../service_config.json")
	if err != nil {
		return nil, err
	}
	channel, err := grpc.NewClient(target,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(string(config)))
	if err != nil {
		return nil, err
	}
	handler := http.NewServeMux()
	handler.Handle("/me", me(userlookup.NewUserServiceClient(channel)))
	return handler, nil
}

func main() {
	target := os.Getenv("LOOKUP_TARGET")
	if target == "" {
		target = "dns:///127.0.0.1:50051"
	}
	handler, err := backend(target)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe("127.0.0.1:8000", handler))
}
