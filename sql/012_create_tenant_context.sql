CREATE TABLE IF NOT EXISTS `tenant_context` (
  `connection_id` BIGINT UNSIGNED NOT NULL,
  `nonce` BINARY(16) NOT NULL,
  `boot_id` BINARY(16) NOT NULL,
  `account` VARCHAR(32) NOT NULL,
  `tenant_id` BINARY(16) NOT NULL,
  `set_at` DATETIME(6) NOT NULL,
  PRIMARY KEY (`connection_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_bin
