// Calls GetUser once with the defaults of grpc-go, as the JSON in the first argument says (matrix.py).
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"

	userlookup "cognito-lookup/gen/userlookup/v1"
)

type call struct {
	Target, Authority, CA, Certificate, Key, Sub string
	Gzip                                         bool
}

func (c call) options() ([]grpc.DialOption, error) {
	var options []grpc.DialOption
	if c.CA == "" {
		options = append(options, grpc.WithInsecure())
	} else {
		config, err := c.tls()
		if err != nil {
			return nil, err
		}
		options = append(options, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	}
	if c.Authority != "" {
		options = append(options, grpc.WithAuthority(c.Authority))
	}
	if c.Gzip {
		options = append(options, grpc.WithDefaultCallOptions(grpc.UseCompressor(gzip.Name)))
	}
	return options, nil
}

func (c call) tls() (*tls.Config, error) {
	pem, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	config.RootCAs.AppendCertsFromPEM(pem)
	if c.Certificate == "" {
		return config, nil
	}
	pair, err := tls.LoadX509KeyPair(c.Certificate, c.Key)
	config.Certificates = []tls.Certificate{pair}
	return config, err
}

func run() error {
	var c call
	if err := json.Unmarshal([]byte(os.Args[1]), &c); err != nil {
		return err
	}
	options, err := c.options()
	if err != nil {
		return err
	}
	channel, err := grpc.Dial(c.Target, options...)
	if err != nil {
		return err
	}
	defer channel.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	reply, err := userlookup.NewUserServiceClient(channel).GetUser(ctx, &userlookup.GetUserRequest{Sub: c.Sub})
	if err != nil {
		return err
	}
	fmt.Println("OK", reply.GetUser().GetAttributes()["name"])
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Println(status.Code(err), err)
	}
}
