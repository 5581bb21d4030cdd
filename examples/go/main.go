// Looks up the user of an incoming request: AUTHORIZATION="Bearer …" go run . [TARGET]
//
// For TLS, CA_FILE names the authorities of the service, and CERTIFICATE_FILE and KEY_FILE a client certificate.
//
// To generate the stubs from ../../proto into gen/, run once:
// protoc -I../../proto --go_out=. --go-grpc_out=. --go_opt=module=$HOME_OF_PROTO --go-grpc_opt=module=$HOME_OF_PROTO ../../proto/userlookup/v1/*.proto
// with HOME_OF_PROTO=github.com/cognito-lookup/cognito-lookup, the beginning of their go_package.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/health" // For healthCheckConfig; without it that setting does nothing.
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	userlookup "cognito-lookup/gen/userlookup/v1"
)

// Balancing, health checks, deadline and retries, the same in every language: see ../README.md.
const serviceConfig = "../service_config.json"

// forwarded is what is passed on of a request: the user's token, and what joins logs and traces.
var forwarded = []string{"authorization", "x-request-id", "traceparent"}

// security returns the credentials of the channel. Beyond this machine it needs TLS, because it carries
// tokens.
func security() (credentials.TransportCredentials, error) {
	if os.Getenv("CA_FILE") == "" {
		return insecure.NewCredentials(), nil
	}
	authorities, err := os.ReadFile(os.Getenv("CA_FILE"))
	if err != nil {
		return nil, err
	}
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	if !config.RootCAs.AppendCertsFromPEM(authorities) {
		return nil, errors.New("CA_FILE has no certificate")
	}
	if os.Getenv("CERTIFICATE_FILE") != "" {
		pair, err := tls.LoadX509KeyPair(os.Getenv("CERTIFICATE_FILE"), os.Getenv("KEY_FILE"))
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return credentials.NewTLS(config), nil
}

// open opens one channel for the whole process.
func open(target string) (*grpc.ClientConn, error) {
	config, err := os.ReadFile(serviceConfig)
	if err != nil {
		return nil, err
	}
	security, err := security()
	if err != nil {
		return nil, err
	}
	return grpc.NewClient(target,
		grpc.WithTransportCredentials(security),
		grpc.WithDefaultServiceConfig(string(config)))
}

// getUser looks up the user of the request that came with these headers, one of which is its
// authorization. ctx is that request's, so the call ends with it, and at the deadline of the service
// config.
func getUser(ctx context.Context, users userlookup.UserServiceClient, headers http.Header) (*userlookup.GetUserResponse, error) {
	for _, name := range forwarded {
		if value := headers.Get(name); value != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, name, value)
		}
	}
	return users.GetUser(ctx, &userlookup.GetUserRequest{Attributes: []string{"name", "email"}})
}

// explain describes code, reason, retry delay and request. docs/errors.md says what each reason means
// for the user.
func explain(err error) string {
	told := status.Convert(err)
	reason, again, id := "unknown", "", ""
	for _, detail := range told.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			reason = detail.GetReason()
		case *errdetails.RetryInfo:
			again = fmt.Sprintf(", again in %d ms", detail.GetRetryDelay().AsDuration().Milliseconds())
		case *errdetails.RequestInfo:
			id = ", request " + detail.GetRequestId()
		}
	}
	return fmt.Sprintf("%s %s%s%s", told.Code(), reason, again, id)
}

// errMissing is answered with 401, without a call.
var errMissing = errors.New("UNAUTHENTICATED TOKEN_MISSING")

func run(target string) error {
	headers := http.Header{}
	headers.Set("authorization", os.Getenv("AUTHORIZATION"))
	headers.Set("x-request-id", os.Getenv("REQUEST_ID"))
	if headers.Get("authorization") == "" {
		return errMissing
	}
	channel, err := open(target)
	if err != nil {
		return err
	}
	defer channel.Close()
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
	if err := run(target); errors.Is(err, errMissing) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	} else if err != nil {
		fmt.Fprintln(os.Stderr, explain(err))
		os.Exit(1)
	}
}
