CREATE TABLE IF NOT EXISTS `audit_pending` (
  `tenant_id` BINARY(16) NOT NULL,
  `evt_id` BINARY(16) NOT NULL,
  `queued_at` DATETIME(6) NOT NULL,
  `payload` VARBINARY(4096) NOT NULL,
  PRIMARY KEY (`tenant_id`, `evt_id`),
  KEY `queued_at` (`queued_at`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_bin
