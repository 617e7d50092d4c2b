# terraform_data is built into Terraform: it stands for real infrastructure, and needs neither a
# provider nor an account.
resource "terraform_data" "vpc" {
  input = {
    cidr_block           = "10.20.0.0/16"
    enable_dns_hostnames = true
  }
}
