// Looks up the user of an incoming request: AUTHORIZATION="Bearer …" go run . [TARGET]
//
// To generate the stubs from ../../proto, run once:
// protoc -I../../proto --go_out=. --go-grpc_out=. --go_opt=module=cognito-lookup --go-grpc_opt=module=cognito-lookup ../../proto/userlookup/v1/*.proto
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/health" // For healthCheckConfig; without it that setting does nothing.
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	userlookup "cognito-lookup/gen/userlookup/v1"
)

// Balancing, health checks, deadline and retries, the same in every language: see ../README.md.
const serviceConfig = "../service_config.json"

// open opens one channel for the whole process. Beyond this machine, use credentials.NewTLS, because
// the channel carries tokens.
func open(target string) (*grpc.ClientConn, error) {
	config, err := os.ReadFile(serviceConfig)
	if err != nil {
		return nil, err
	}
	return grpc.NewClient(target,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(string(config)))
}

// getUser looks up the user of the request that came with these headers. ctx is that request's, so
// the call ends with it, and at the deadline of the service config.
func getUser(ctx context.Context, users userlookup.UserServiceClient, headers http.Header) (*userlookup.GetUserResponse, error) {
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", headers.Get("Authorization"))
	return users.GetUser(ctx, &userlookup.GetUserRequest{Attributes: []string{"name", "email"}})
}

// explain describes code, reason and retry delay. docs/errors.md says what each reason means for the
// user.
func explain(err error) string {
	told := status.Convert(err)
	reason, again := "unknown", ""
	for _, detail := range told.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			reason = detail.GetReason()
		case *errdetails.RetryInfo:
			again = fmt.Sprintf(", again in %d ms", detail.GetRetryDelay().AsDuration().Milliseconds())
		}
	}
	return fmt.Sprintf("%s %s%s", told.Code(), reason, again)
}

func run(target string) error {
	channel, err := open(target)
	if err != nil {
		return err
	}
	defer channel.Close()
	headers := http.Header{"Authorization": {os.Getenv("AUTHORIZATION")}}
	reply, err := getUser(context.Background(), userlookup.NewUserServiceClient(channel), headers)
	if err != nil {
		return err
	}
	user := reply.GetUser().GetAttributes()
	fmt.Printf("%s <%s>, %s\n", user["name"], user["email"], reply.GetFreshness().GetSource())
	return nil
}

func main() {
	target := "dns:///127.0.0.1:50051"
	if len(os.Args) > 1 {
		target = os.Args[1]
	}
	if err := run(target); err != nil {
		fmt.Fprintln(os.Stderr, explain(err))
		os.Exit(1)
	}
}
