resource "terraform_data" "www" {
  input = {
    name    = "www.example.com"
    type    = "A"
    ttl     = 300
    address = "192.0.2.10"
  }
}
